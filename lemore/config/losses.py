"""The schema of a recipe's losses. Torch-free."""

from dataclasses import dataclass

from lemore.config.values import NotNegative, Positive, SomeShare


@dataclass(frozen=True)
class Term:
    """A loss in a weighted sum."""

    weight: Positive = 1.0


@dataclass(frozen=True)
class Focal(Term):
    gamma: NotNegative = 2.0


@dataclass(frozen=True)
class Ohem(Term):
    """Cross-entropy of the pixels whose class has a probability below `threshold`, at least of the
    hardest `min_share` of a batch."""

    threshold: SomeShare = 0.7
    min_share: SomeShare = 0.1


@dataclass(frozen=True)
class Losses:
    """The losses whose weighted sum is trained; those left out have no part in it."""

    cross_entropy: Term | None = None
    focal: Focal | None = None
    ohem: Ohem | None = None
    dice: Term | None = None
    lovasz: Term | None = None

    @property
    def needs_full_size(self) -> bool:
        """Returns whether a loss needs the logits at the labels' size."""
        return any((self.focal, self.ohem, self.dice, self.lovasz))

    def __post_init__(self) -> None:
        if not (self.cross_entropy or self.needs_full_size):
            names = ", ".join(self.__dataclass_fields__)
            raise ValueError(f"losses names none, expected at least one of {names}")


CROSS_ENTROPY = Losses(cross_entropy=Term())
