"""How much of a manual's pages does extraction keep? Beside w3m (a text browser with a parser and a layout of its own) on the same pages.

Adds --pages pages, evenly spread over the folder, to a fresh library and reads their texts back from its database. Compared as bags of words: the share of w3m's words
that hearth keeps, and of hearth's words that w3m shows. What DocBook puts around a page (navheader, navfooter) is cut off w3m's side first, and so is the table of
contents, which hearth leaves out on purpose; --with-contents counts it as lost. Headings: each h1..h6 must stand in the heading path of a passage or as a line of the text."""
import argparse
import collections
import glob
import html
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile

ap = argparse.ArgumentParser()
ap.add_argument("--hearth", default="build/hearth")
ap.add_argument("--folder", default="/usr/share/doc/postgresql-doc-15/html")
ap.add_argument("--pages", type=int, default=30)
ap.add_argument("--with-contents", action="store_true")
ap.add_argument("--verbose", action="store_true", help="the words that differ, page by page")
a = ap.parse_args()
files = sorted(glob.glob(os.path.join(a.folder, "*.html")))
files = files[:: max(1, len(files) // a.pages)][: a.pages]
words = lambda s: collections.Counter(re.findall(r"\w+", s.lower()))
plain = lambda s: s.replace("\u200b", "")  # where a line may be broken inside a word; hearth drops it, w3m does not
squeeze = lambda s: " ".join(plain(html.unescape(re.sub(r"<[^>]*>", "", s))).split())


def shown(path, work):
    page = open(path, encoding="utf-8", errors="replace").read()
    page = re.sub(r'<div class="navheader">.*?</div>', "", page, flags=re.S)
    page = re.sub(r'<div class="navfooter">.*?</div>', "", page, flags=re.S)
    if not a.with_contents:
        page = re.sub(r'<div class="(?:toc|list-of-\w+)">.*?</div>', "", page, flags=re.S)
    cut = os.path.join(work, "cut.html")
    open(cut, "w", encoding="utf-8").write(page)
    cmd = ["w3m", "-dump", "-cols", "20000", "-o", "display_image=false", "-T", "text/html", "-I", "UTF-8", "-O", "UTF-8", cut]
    return page, plain(subprocess.run(cmd, check=True, capture_output=True, text=True).stdout)


with tempfile.TemporaryDirectory() as work:
    docs, home = os.path.join(work, "docs"), os.path.join(work, "home")
    os.mkdir(docs)
    for f in files:
        shutil.copy(f, docs)
    subprocess.run([a.hearth, "add", "--quiet", "--home", home, docs], check=True, stdout=subprocess.DEVNULL)
    db = sqlite3.connect(os.path.join(home, "hearth.db"))
    n_theirs = n_ours = n_both = n_headings = 0
    missing, worst = [], []
    for f in files:
        (doc,) = db.execute("SELECT id FROM documents WHERE uri = ?", (os.path.join(docs, os.path.basename(f)),)).fetchone()
        text = b"".join(r[0] for r in db.execute("SELECT body FROM texts WHERE document_id = ? ORDER BY piece", (doc,))).decode()
        paths = {h for r in db.execute("SELECT heading FROM chunks WHERE document_id = ?", (doc,)) for h in r[0].split(" > ")}
        lines = {" ".join(l.split()) for l in text.splitlines()}
        page, dump = shown(f, work)
        theirs, ours = words(dump), words(text)
        both = theirs & ours
        n_theirs, n_ours, n_both = n_theirs + theirs.total(), n_ours + ours.total(), n_both + both.total()
        worst.append((both.total() / max(1, theirs.total()), os.path.basename(f)))
        for h in re.findall(r"<h[1-6][^>]*>(.*?)</h[1-6]>", page, flags=re.S):
            n_headings += 1
            if squeeze(h) not in paths and squeeze(h) not in lines:
                missing.append((os.path.basename(f), squeeze(h)))
        if a.verbose:
            print(os.path.basename(f), "lost", dict((theirs - both).most_common(12)), "added", dict((ours - both).most_common(12)))
    print(f"{len(files)} pages, {n_theirs} words shown by w3m: {100 * n_both / n_theirs:.2f} % kept; {n_ours} words kept by hearth: {100 * n_both / n_ours:.2f} % shown by w3m")
    print("worst page: %.2f %% kept (%s)" % (100 * min(worst)[0], min(worst)[1]))
    print(f"{n_headings - len(missing)} of {n_headings} headings; missing: {missing}")
