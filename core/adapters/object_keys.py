"""What the keys and uris of objects look like in every store."""

from pathlib import PurePosixPath

from core.errors import BadInput, NotFound


def parts_of(key: str) -> tuple[str, ...]:
    """The parts of a relative key. Raises: BadInput for one that is empty, absolute or climbs."""
    parts = PurePosixPath(key).parts
    if not parts or key.startswith("/") or any(p in ("..", ".", "") or "\\" in p or "\0" in p for p in parts):
        raise BadInput(f"{key[:80]!r} can't be the key of an object.")
    return parts


def key_of(uri: str, bucket: str) -> str:
    """The key in `s3://bucket/key`. Raises: NotFound for another bucket's."""
    prefix = f"s3://{bucket}/"
    if not uri.startswith(prefix):
        raise NotFound("That object is not in this store.")
    return uri.removeprefix(prefix)
