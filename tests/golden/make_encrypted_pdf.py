"""Writes data/encrypted.pdf with the pypdf package: one blank page behind a user password."""
import pypdf

writer = pypdf.PdfWriter()
writer.add_blank_page(200, 200)
writer.encrypt("secret", algorithm="RC4-128")
writer.write("data/encrypted.pdf")
