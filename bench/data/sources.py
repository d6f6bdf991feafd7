"""Download locations of datasets, their terms, and the publicly known checksums."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class File:
    """One download. An archive is unpacked below `target`, a folder of the data root; another file is stored there.

    inside: take only the content of this folder of an archive. size: bytes. md5: if known.
    """

    part: str
    url: str
    target: str = "."
    md5: str | None = None
    size: int | None = None
    inside: str = ""
    save_as: str = ""

    @property
    def name(self) -> str:
        """The name of the file on disk."""
        return self.save_as or self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Source:
    """A dataset's downloads; none if it requires registration, which `terms` then describes."""

    terms: str
    files: tuple[File, ...] = ()


_VOC = "http://host.robots.ox.ac.uk/pascal/VOC"
_COCO = "http://images.cocodataset.org"
_VOC_TERMS = "PASCAL VOC; its images are Flickr's, under Flickr's terms of use: research only."
_COCO_TERMS = "COCO; annotations under CC BY 4.0, images under Flickr's terms of use (cocodataset.org)."
_IMAGENET = "image-net.org requires registration and acceptance of its terms of access."

_VOC2012 = Source(
    _VOC_TERMS,
    (File("trainval", f"{_VOC}/voc2012/VOCtrainval_11-May-2012.tar", md5="6cd6e144f989b92b3379bac3b3de84fd"),),
)

SOURCES: dict[str, Source] = {
    "voc2007": Source(
        _VOC_TERMS,
        (
            File("trainval", f"{_VOC}/voc2007/VOCtrainval_06-Nov-2007.tar", md5="c52e279531787c972589f7e41ab4ae64"),
            File("test", f"{_VOC}/voc2007/VOCtest_06-Nov-2007.tar", md5="b6e924de25625d8de591ea690078ad9f"),
        ),
    ),
    "voc2010": Source(
        _VOC_TERMS,
        (File("trainval", f"{_VOC}/voc2010/VOCtrainval_03-May-2010.tar", md5="da459979d0c395079b5c75ee67908abb"),),
    ),
    "voc2012": _VOC2012,
    "voc2012-actions": _VOC2012,
    "coco2014": Source(
        _COCO_TERMS,
        (
            File(
                "annotations",
                f"{_COCO}/annotations/annotations_trainval2014.zip",
                "coco",
                "0a379cfc70b0e71301e0f377548639bd",
            ),
            File("train", f"{_COCO}/zips/train2014.zip", "coco", "0da8cfa0e090c266b78f30e2d2874f1a"),
            File("val", f"{_COCO}/zips/val2014.zip", "coco", "a3d79f5ed8d289b7a7554ce06a5782b3"),
        ),
    ),
    "coco2017": Source(
        _COCO_TERMS,
        (
            File(
                "annotations",
                f"{_COCO}/annotations/annotations_trainval2017.zip",
                "coco",
                "f4bbac642086de4f52a3fdda2de5fa2c",
            ),
            File("train", f"{_COCO}/zips/train2017.zip", "coco", "cced6f7f71b7629ddf16f17bbcfab6b2"),
            File("val", f"{_COCO}/zips/val2017.zip", "coco", "442b8da7639aecaf257c1dceb8ba8c80"),
        ),
    ),
    "cub": Source(
        "CUB-200-2011; images for non-commercial research and education only (vision.caltech.edu).",
        (
            File(
                "all",
                "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
                md5="97eceeb196236b17998738112f37df78",
            ),
        ),
    ),
    "mit67": Source(
        "MIT Indoor 67; for research only (web.mit.edu/torralba/www/indoor.html).",
        (
            File("lists", "http://web.mit.edu/torralba/www/TrainImages.txt", "MIT67"),
            File("lists", "http://web.mit.edu/torralba/www/TestImages.txt", "MIT67"),
            File("images", "http://groups.csail.mit.edu/vision/LabelMe/NewImages/indoorCVPR_09.tar", "MIT67"),
        ),
    ),
    "wsolevaluation": Source(
        "wsolevaluation's lists of ILSVRC, CUB and OpenImages; MIT licence, boxes of ImageNetV2 and CUBV2 CC BY 2.0.",
        (
            File(
                "lists",
                "https://github.com/clovaai/wsolevaluation/archive/refs/heads/master.zip",
                "lists/wsolevaluation/metadata",
                inside="wsolevaluation-master/metadata",
                save_as="wsolevaluation-master.zip",
            ),
        ),
    ),
    "ilsvrc2012": Source(_IMAGENET),
    "ilsvrc2013-det": Source(_IMAGENET),
    "openimages": Source(
        "its images and masks are linked from github.com/clovaai/wsolevaluation; its lists come with `wsolevaluation`."
    ),
}
