"""Nothing in, the vocabulary of the generated prompts out: everyday words that date, place and fashion leave alone."""

from __future__ import annotations

NAMES = (
    "Ada", "Ben", "Clara", "David", "Emma", "Felix", "Greta", "Henry", "Ivan", "Julia", "Kate", "Leo",
    "Maria", "Nina", "Oscar", "Paul", "Rosa", "Sam", "Tom", "Vera",
)  # fmt: skip

COUNTED = (
    "apples", "stamps", "marbles", "shells", "buttons", "candles", "pencils", "stones", "coins", "plums",
    "nuts", "cards", "eggs", "ribbons", "beads", "tiles",
)  # fmt: skip

BOXES = ("boxes", "bags", "baskets", "jars", "crates", "trays")

COLOURS = ("red", "blue", "green", "yellow", "white", "black", "brown", "grey")

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")

NUMERALS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip

NONSENSE = ("zib", "mop", "tarn", "wug", "fep", "dax", "blick", "gorp", "nell", "plim", "quon", "vash")

PLACES = (
    "mill", "harbour", "chapel", "bridge", "market", "tower", "bakery", "school", "garden", "stable", "library",
    "well", "forge", "station", "barn", "inn", "orchard", "quarry", "ferry", "museum",
)  # fmt: skip

THINGS = (
    "ladder", "kettle", "lantern", "basket", "rope", "drum", "mirror", "carpet", "clock", "barrel", "hammer", "chair",
    "flag", "map", "bell", "blanket", "bucket", "bottle", "piano", "cart",
)  # fmt: skip

QUALITIES = (
    "old", "heavy", "small", "broken", "painted", "wooden", "dusty", "narrow", "bright", "plain", "round", "borrowed",
)  # fmt: skip
