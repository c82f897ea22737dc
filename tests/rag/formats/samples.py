"""Files of the binary formats, made on the spot."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

from docx import Document
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject


def pdf(pages: Sequence[Sequence[str]], *, title: str = "", headings: Sequence[tuple[int, str]] = ()) -> bytes:
    """A PDF with these lines on its pages; `headings` (page from 0, text) become its outline."""
    writer = PdfWriter()
    font = writer._add_object(
        DictionaryObject(
            {
                NameObject("/Type"): NameObject("/Font"),
                NameObject("/Subtype"): NameObject("/Type1"),
                NameObject("/BaseFont"): NameObject("/Helvetica"),
                NameObject("/Encoding"): NameObject("/WinAnsiEncoding"),
            }
        )
    )
    for lines in pages:
        page = writer.add_blank_page(595, 842)
        escaped = (line.replace("(", "\\(").replace(")", "\\)") for line in lines)
        shown = " T* ".join(f"({line}) Tj" for line in escaped)
        content = DecodedStreamObject()
        content.set_data(f"BT /F1 12 Tf 14 TL 72 770 Td {shown} ET".encode("cp1252"))
        page[NameObject("/Contents")] = writer._add_object(content)
        fonts = DictionaryObject({NameObject("/F1"): font})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    for page_number, text in headings:
        writer.add_outline_item(title=text, page_number=page_number)
    if title:
        writer.add_metadata({"/Title": title})
    packed = io.BytesIO()
    writer.write(packed)
    return packed.getvalue()


def encrypted_pdf(password: str) -> bytes:
    """A PDF that nobody reads without the password."""
    writer = PdfWriter()
    writer.append(io.BytesIO(pdf([["Secret."]])))
    writer.encrypt(password, algorithm="RC4-128")
    packed = io.BytesIO()
    writer.write(packed)
    return packed.getvalue()


def docx() -> bytes:
    """A Word document with a title, two sections, a list and a table."""
    document = Document()
    document.add_heading("Travel costs", 0)
    document.add_paragraph("What the company pays for.")
    document.add_heading("Trains", 1)
    document.add_paragraph("Second class is paid. First class is not.")
    document.add_paragraph("Keep the ticket", style="List Bullet")
    table = document.add_table(0, 2)
    for row in (("Ride", "Limit"), ("Taxi", "30 EUR"), ("Bus", "")):
        for cell, text in zip(table.add_row().cells, row, strict=True):
            cell.text = text
    document.add_heading("Hotels", 1)
    document.add_paragraph("Up to 120 EUR a night.")
    packed = io.BytesIO()
    document.save(packed)
    return packed.getvalue()


def zip_bomb(megabytes: int) -> bytes:
    """A small file that claims to be a Word document and unpacks to so much."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b" " * (megabytes << 20))
    return packed.getvalue()


def xml_bomb() -> bytes:
    """A Word document whose text is an entity of entities of entities ("billion laughs")."""
    entities = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    bomb = f'<!DOCTYPE d [<!ENTITY l0 "ha">{entities}]>'
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(docx())) as sound, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in sound.infolist():
            data = sound.read(part)
            if part.filename == "word/document.xml":
                head, body = data.split(b"?>", 1)
                data = head + b"?>" + bomb.encode() + body.replace(b"Second class", b"&l9;")
            archive.writestr(part.filename, data)
    return packed.getvalue()
