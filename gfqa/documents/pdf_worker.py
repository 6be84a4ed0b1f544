"""The child process that reads one PDF: standard library and pypdf only, run by path, never imported by gfqa.

Argument: a JSON object {"seconds", "memory" (bytes), "pages", "characters", "library" (a folder for sys.path)}.
Standard input: the PDF. Standard output: {"pages": [text, ...]} or {"error": reason}.
"""

import contextlib
import io
import json
import sys


def limit(seconds: int, memory: int) -> None:
    """Limits that this process cannot lift again. Where the platform has none, the parent's deadline still holds."""
    try:
        import resource
    except ImportError:
        return
    wanted = {
        "RLIMIT_CPU": (seconds, seconds + 1),
        "RLIMIT_AS": (memory, memory),
        "RLIMIT_FSIZE": (0, 0),
        "RLIMIT_CORE": (0, 0),
    }
    for name, value in wanted.items():
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), value)


def read_pages(data: bytes, most_pages: int, most_characters: int) -> dict[str, list[str] | str]:
    """{"pages": [...]} or {"error": ...}. A page that cannot be read is an empty one, unless none can."""
    import pypdf
    from pypdf.errors import DependencyError, FileNotDecryptedError, LimitReachedError, WrongPasswordError

    with contextlib.suppress(ImportError):
        import pypdf.filters

        pypdf.filters.JBIG2DEC_BINARY = None  # the only program that pypdf would start
    pages: list[str] = []
    characters = failed = 0
    try:
        reader = pypdf.PdfReader(io.BytesIO(data), strict=False)
        count = len(reader.pages)
        if count > most_pages:
            return {"error": "too_large"}
        for number in range(count):
            try:
                text = reader.pages[number].extract_text()
            except (MemoryError, LimitReachedError, DependencyError, FileNotDecryptedError):
                raise
            except Exception:
                text, failed = "", failed + 1
            characters += len(text)
            if characters > most_characters:
                return {"error": "too_large"}
            pages.append(text)
    except (MemoryError, LimitReachedError):
        return {"error": "too_large"}
    except (DependencyError, FileNotDecryptedError, WrongPasswordError):
        return {"error": "pdf_encrypted"}
    except Exception:
        return {"error": "pdf_damaged"}
    return {"error": "pdf_damaged"} if failed == len(pages) else {"pages": pages}


def main() -> None:
    order = json.loads(sys.argv[1])
    sys.path.append(order["library"])
    limit(order["seconds"], order["memory"])
    try:
        answer = json.dumps(read_pages(sys.stdin.buffer.read(), order["pages"], order["characters"]))
    except MemoryError:
        answer = '{"error": "too_large"}'
    sys.stdout.write(answer)  # ASCII: halves of surrogate pairs travel as escapes


if __name__ == "__main__":
    main()
