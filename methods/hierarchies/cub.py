"""Caltech-UCSD Birds: order and family of the 200 species, 11 and 37 as DANet counts them.

DANet does not name its taxonomy. These are the families of Clements' checklist, with the chat in a family of its own.
Orders follow it too, except that cormorants and frigatebirds are Pelecaniformes, as in older taxonomies, which gives
the printed counts. DANet's released lists do not help: they give cormorants and woodpeckers the same number.
"""

from __future__ import annotations

from collections.abc import Sequence

_BIRDS = {
    "Anseriformes Anatidae": "Gadwall Mallard Merganser",
    "Caprimulgiformes Caprimulgidae": "Chuck_will_Widow Nighthawk Whip_poor_Will",
    "Caprimulgiformes Trochilidae": "Hummingbird Violetear",
    "Charadriiformes Alcidae": "Auklet Guillemot Puffin",
    "Charadriiformes Laridae": "Gull Kittiwake Tern",
    "Charadriiformes Stercorariidae": "Jaeger",
    "Coraciiformes Alcedinidae": "Kingfisher",
    "Cuculiformes Cuculidae": "Ani Cuckoo Geococcyx",
    "Gaviiformes Gaviidae": "Loon",
    "Passeriformes Alaudidae": "Lark",
    "Passeriformes Bombycillidae": "Waxwing",
    "Passeriformes Cardinalidae": "Bunting Cardinal Blue_Grosbeak Rose_breasted_Grosbeak Tanager",
    "Passeriformes Certhiidae": "Creeper",
    "Passeriformes Corvidae": "Crow Jay Nutcracker Raven",
    "Passeriformes Fringillidae": "Finch Goldfinch Evening_Grosbeak Pine_Grosbeak",
    "Passeriformes Hirundinidae": "Swallow",
    "Passeriformes Icteridae": "Blackbird Bobolink Cowbird Grackle Meadowlark Oriole",
    "Passeriformes Icteriidae": "Chat",
    "Passeriformes Laniidae": "Shrike",
    "Passeriformes Mimidae": "Gray_Catbird Mockingbird Thrasher",
    "Passeriformes Motacillidae": "Pipit",
    "Passeriformes Parulidae": "Ovenbird Redstart Warbler Waterthrush Yellowthroat",
    "Passeriformes Passerellidae": "Junco Sparrow Towhee",
    "Passeriformes Passeridae": "House_Sparrow",
    "Passeriformes Ptilonorhynchidae": "Spotted_Catbird",
    "Passeriformes Sittidae": "Nuthatch",
    "Passeriformes Sturnidae": "Starling",
    "Passeriformes Troglodytidae": "Wren",
    "Passeriformes Tyrannidae": "Flycatcher Kingbird Pewee Sayornis",
    "Passeriformes Vireonidae": "Vireo",
    "Pelecaniformes Fregatidae": "Frigatebird",
    "Pelecaniformes Pelecanidae": "Pelican",
    "Pelecaniformes Phalacrocoracidae": "Cormorant",
    "Piciformes Picidae": "Flicker Woodpecker",
    "Podicipediformes Podicipedidae": "Grebe",
    "Procellariiformes Diomedeidae": "Albatross",
    "Procellariiformes Procellariidae": "Fulmar",
}
"""Order and family to its birds. A last word stands for every name that ends with it; whole names take precedence."""

_FAMILY = {bird: tuple(above.split()) for above, birds in _BIRDS.items() for bird in birds.split()}


def ancestors(classes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the order and family of each class, such as `118.House_Sparrow`; names not in CUB are left out."""
    birds = {name: name.partition(".")[2] or name for name in classes}
    known = {name: _FAMILY.get(bird) or _FAMILY.get(bird.rpartition("_")[2]) for name, bird in birds.items()}
    return {name: above for name, above in known.items() if above}
