"""E-mails: who wrote what to whom and when. Attachments are named and not opened."""

from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

from core.adapters.parsing import Read, html_page
from core.adapters.parsing.plain import clean, decoded
from core.errors import Unreadable
from core.rag.model import Section

SHOWN = ("From", "To", "Cc", "Date", "Subject")


def read(data: bytes, name: str) -> Read:
    """One section: the headers people read, the body (plain before HTML), and the attachments' names. Raises: Unreadable for what is no e-mail."""
    try:
        message = BytesParser(policy=policy.default).parsebytes(data)
        assert isinstance(message, EmailMessage)
        headers = [f"{header}: {' '.join(str(value).split())}" for header in SHOWN if (value := message[header])]
        body = message.get_body(("plain", "html"))
        text = _text_of(body, name) if isinstance(body, EmailMessage) else ""
        attached = [str(part.get_filename() or part.get_content_type()) for part in message.iter_attachments()] if message.is_multipart() else []
        subject = str(message["Subject"] or "")
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # what hostile headers make the email package raise
        raise Unreadable(f"{name} is damaged and can't be read as an e-mail.", hint="Save it again, or copy its text.") from error
    if not headers:
        raise Unreadable(f"{name} is not an e-mail, whatever its name says.", hint="If it is plain text, call it .txt.")
    named = [f"Attachments (not opened): {', '.join(attached)}"] if attached else []
    return Read(clean(subject).strip(), (Section(clean("\n\n".join(["\n".join(headers), text, *named])).strip(), clean(subject).strip()),))


def _text_of(part: EmailMessage, name: str) -> str:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes) or not payload.strip():
        return ""
    try:
        text = payload.decode(part.get_content_charset() or "utf-8")
    except (LookupError, ValueError):
        text = decoded(payload, name)
    if part.get_content_subtype() != "html":
        return text.strip()
    return "\n\n".join("\n".join(filter(None, (s.heading, s.text))) for s in html_page.read(text.encode("utf-8", "replace"), name).sections)
