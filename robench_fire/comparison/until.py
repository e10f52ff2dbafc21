"""x."""


def block_size(images: int) -> int:
    """How many images lie between two looks: a twentieth, at most 100, at least 10."""
    return min(100, max(10, images // 20))
