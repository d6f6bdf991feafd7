"""The hierarchies of datasets: counts and known relations; files of others, and WordNet's."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.data.scenes import SHAPE_CLASSES
from bench.data.voc import CLASSES as VOC
from bench.errors import BadFileError, MissingDataError, RequestError
from bench.method import Task
from methods.hierarchies import build_levels
from methods.layers.hierarchy import Level

ENDINGS = {  # of CUB's names, with what stands before them; nothing where the name is this one word
    "Albatross": "Black_footed Laysan Sooty",
    "Ani": "Groove_billed",
    "Auklet": "Crested Least Parakeet Rhinoceros",
    "Blackbird": "Brewer Red_winged Rusty Yellow_headed",
    "Bobolink": "",
    "Bunting": "Indigo Lazuli Painted",
    "Cardinal": "",
    "Catbird": "Spotted Gray",
    "Chat": "Yellow_breasted",
    "Towhee": "Eastern Green_tailed",
    "Widow": "Chuck_will",
    "Cormorant": "Brandt Red_faced Pelagic",
    "Cowbird": "Bronzed Shiny",
    "Creeper": "Brown",
    "Crow": "American Fish",
    "Cuckoo": "Black_billed Mangrove Yellow_billed",
    "Finch": "Gray_crowned_Rosy Purple",
    "Flicker": "Northern",
    "Flycatcher": "Acadian Great_Crested Least Olive_sided Scissor_tailed Vermilion Yellow_bellied",
    "Frigatebird": "",
    "Fulmar": "Northern",
    "Gadwall": "",
    "Goldfinch": "American European",
    "Grackle": "Boat_tailed",
    "Grebe": "Eared Horned Pied_billed Western",
    "Grosbeak": "Blue Evening Pine Rose_breasted",
    "Guillemot": "Pigeon",
    "Gull": "California Glaucous_winged Heermann Herring Ivory Ring_billed Slaty_backed Western",
    "Hummingbird": "Anna Ruby_throated Rufous",
    "Violetear": "Green",
    "Jaeger": "Long_tailed Pomarine",
    "Jay": "Blue Florida Green",
    "Junco": "Dark_eyed",
    "Kingbird": "Tropical Gray",
    "Kingfisher": "Belted Green Pied Ringed White_breasted",
    "Kittiwake": "Red_legged",
    "Lark": "Horned",
    "Loon": "Pacific",
    "Mallard": "",
    "Meadowlark": "Western",
    "Merganser": "Hooded Red_breasted",
    "Mockingbird": "",
    "Nighthawk": "",
    "Nutcracker": "Clark",
    "Nuthatch": "White_breasted",
    "Oriole": "Baltimore Hooded Orchard Scott",
    "Ovenbird": "",
    "Pelican": "Brown White",
    "Pewee": "Western_Wood",
    "Sayornis": "",
    "Pipit": "American",
    "Will": "Whip_poor",
    "Puffin": "Horned",
    "Raven": "Common White_necked",
    "Redstart": "American",
    "Geococcyx": "",
    "Shrike": "Loggerhead Great_Grey",
    "Sparrow": "Baird Black_throated Brewer Chipping Clay_colored House Field Fox Grasshopper Harris Henslow Le_Conte "
    "Lincoln Nelson_Sharp_tailed Savannah Seaside Song Tree Vesper White_crowned White_throated",
    "Starling": "Cape_Glossy",
    "Swallow": "Bank Barn Cliff Tree",
    "Tanager": "Scarlet Summer",
    "Tern": "Artic Black Caspian Common Elegant Forsters Least",
    "Thrasher": "Brown Sage",
    "Vireo": "Black_capped Blue_headed Philadelphia Red_eyed Warbling White_eyed Yellow_throated",
    "Warbler": "Bay_breasted Black_and_white Black_throated_Blue Blue_winged Canada Cape_May Cerulean Chestnut_sided "
    "Golden_winged Hooded Kentucky Magnolia Mourning Myrtle Nashville Orange_crowned Palm Pine Prairie Prothonotary "
    "Swainson Tennessee Wilson Worm_eating Yellow",
    "Waterthrush": "Northern Louisiana",
    "Waxwing": "Bohemian Cedar",
    "Woodpecker": "American_Three_toed Pileated Red_bellied Red_cockaded Red_headed Downy",
    "Wren": "Bewick Cactus Carolina House Marsh Rock Winter",
    "Yellowthroat": "Common",
}
BIRDS = [f"{first}_{last}".lstrip("_") for last, firsts in ENDINGS.items() for first in firsts.split() or [""]]
CUB = tuple(f"{number:03d}.{bird}" for number, bird in enumerate(BIRDS, start=1))


def above(levels: tuple[Level, ...], name: str) -> list[str]:
    """The names that a class is below."""
    place = next(place for place, one in enumerate(levels[-1].names) if one.endswith(name))
    return [level.names[level.of_class[place]] for level in levels[:-1]]


def test_cub_has_11_orders_37_families_and_200_species() -> None:
    levels = build_levels(Task("cub", CUB), "dataset")
    assert [len(level.names) for level in levels] == [11, 37, 200]


@pytest.mark.parametrize(
    ("bird", "order", "family"),
    [
        ("Laysan_Albatross", "Procellariiformes", "Diomedeidae"),
        ("House_Sparrow", "Passeriformes", "Passeridae"),
        ("Song_Sparrow", "Passeriformes", "Passerellidae"),
        ("Rose_breasted_Grosbeak", "Passeriformes", "Cardinalidae"),
        ("Pine_Grosbeak", "Passeriformes", "Fringillidae"),
        ("Spotted_Catbird", "Passeriformes", "Ptilonorhynchidae"),
        ("Gray_Catbird", "Passeriformes", "Mimidae"),
        ("Anna_Hummingbird", "Caprimulgiformes", "Trochilidae"),
        ("Frigatebird", "Pelecaniformes", "Fregatidae"),
    ],
)
def test_a_bird_is_where_the_taxonomy_has_it(bird: str, order: str, family: str) -> None:
    assert above(build_levels(Task("cub", CUB), "dataset"), bird) == [order, family]


@pytest.mark.parametrize(
    ("task", "counts"),
    [(Task("voc2007", VOC), [4, 13, 20]), (Task("shapes", tuple(kind.name for kind in SHAPE_CLASSES)), [2, 4, 12])],
)
def test_voc_and_shapes_have_three_levels(task: Task, counts: list[int]) -> None:
    assert [len(level.names) for level in build_levels(task, "dataset")] == counts


def test_cats_are_nearer_to_dogs_than_to_cows_and_to_these_than_to_cars() -> None:
    levels = build_levels(Task("voc2012", VOC), "dataset")
    cat, dog, cow, car = (above(levels, name) for name in ("cat", "dog", "cow", "car"))
    assert cat == dog
    assert cat[0] == cow[0] != car[0]
    assert cat[1] != cow[1]


def test_a_dataset_without_one_says_how_to_give_one() -> None:
    with pytest.raises(RequestError, match=r"The classes of mit67 have no built-in hierarchy\. Use hierarchy=FILE"):
        build_levels(Task("mit67", ("bar", "gym")), "dataset")


def test_a_file_gives_the_hierarchy_of_any_classes(tmp_path: Path) -> None:
    (tmp_path / "rooms.txt").write_text("bar\tfun\tdrinks\ngym\tfun\tsports\noffice\twork\tdesks\nspare\twork\tdesks\n")
    levels = build_levels(Task("mit67", ("office", "bar", "gym")), str(tmp_path / "rooms.txt"))
    assert [level.names for level in levels[:-1]] == [("work", "fun"), ("desks", "drinks", "sports")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bar\tfun\n", r"rooms\.txt: has no entry for 1 of 2 classes \(first: gym\)"),
        ("bar\tfun\ngym\n", r"rooms\.txt: gives gym 0 ancestors, but bar 1"),
        ("bar\tfun\nbar\tfun\ngym\tfun\n", r"rooms\.txt, row 1: 'bar' is listed twice"),
        ("", r"rooms\.txt: is empty"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "rooms.txt").write_text(text)
    with pytest.raises(BadFileError, match=message):
        build_levels(Task("mit67", ("bar", "gym")), str(tmp_path / "rooms.txt"))


def test_a_file_that_is_not_there_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="a class and its ancestors on each line"):
        build_levels(Task("mit67", ("bar",)), str(tmp_path / "none.txt"))


def is_a(folder: Path) -> str:
    """A chain from the root n0 down to n11; n20 to n22 besides, n22 also below n8; n30 is shallow, n41 below two."""
    chain = [f"n{one} n{one + 1}" for one in range(11)]
    lines = [*chain[::-1], "n5 n20", "n20 n21", "n21 n22", "n8 n22", "n3 n30", "n4 n30", "n6 n41", "n20 n41"]
    path = folder / "wordnet.is_a.txt"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_wordnet_is_cut_at_two_depths_and_the_shorter_path_counts(tmp_path: Path) -> None:
    levels = build_levels(Task("ilsvrc2012", ("n11", "n10", "n22", "n30", "n41")), is_a(tmp_path))
    assert above(levels, "n11") == above(levels, "n10") == ["n6", "n9"]
    assert above(levels, "n22") == ["n20", "n22"]
    assert above(levels, "n30") == ["n30", "n30"]
    assert above(levels, "n41") == ["n20", "n41"]


def test_a_synset_that_wordnets_file_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="has no line with the class n77"):
        build_levels(Task("ilsvrc2012", ("n11", "n77")), is_a(tmp_path))
