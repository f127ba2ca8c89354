"""The languages of XTREME and XTREME-R, and a few more that occur in the data: one row each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from adapters_xitt.errors import XittError, unknown
from adapters_xitt.languages.syntax import SYNTAX


@dataclass(frozen=True)
class Language:
    """One language; None is "not known", never "none"."""

    code: str  # ISO 639-1, or 639-3 where there is no shorter one
    name: str
    family: str  # the top family, with its branch after a colon for Indo-European ("IE: Slavic")
    script: str  # ISO 15924
    # size of its text in XLM-R's pre-training, GiB; 0.0: it was not in it
    cc100_gib: float | None = None
    joshi: int | None = None  # class of Joshi et al. 2020, 5 (most resources) to 0
    # cosine distance to English of URIEL's syntax_knn features, 0 to 1
    distance: float | None = None
    order: str | None = None  # order of subject, verb, object; two where URIEL marks both


# Sources: scripts from MTEB's defaults, CC-100 sizes from table 6 of the XLM-R paper (zh:
# simplified and traditional), Joshi classes from LangResourceAtlas, distance and order from
# lang2vec (Quechua as Ayacucho).
_ROWS = (
    Language("af", "Afrikaans", "IE: Germanic", "Latn", 1.3, 3, 0.15, "SVO/SOV"),
    Language("ar", "Arabic", "Afro-Asiatic", "Arab", 28.0, 5, 0.36, "VSO"),
    Language("az", "Azerbaijani", "Turkic", "Latn", 6.5, 1, 0.47, "SOV"),
    Language("bg", "Bulgarian", "IE: Slavic", "Cyrl", 57.5, 3, 0.14, "SVO"),
    Language("bn", "Bengali", "IE: Indo-Aryan", "Beng", 8.4, 3, 0.42, "SOV"),
    Language("de", "German", "IE: Germanic", "Latn", 66.6, 5, 0.10, "SVO/SOV"),
    Language("el", "Greek", "IE: Greek", "Grek", 46.9, 3, 0.22, "SVO/VSO"),
    Language("en", "English", "IE: Germanic", "Latn", 300.8, 5, 0.00, "SVO"),
    Language("es", "Spanish", "IE: Romance", "Latn", 53.3, 5, 0.18, "SVO"),
    Language("et", "Estonian", "Uralic", "Latn", 6.1, 3, 0.22, "SVO"),
    Language("eu", "Basque", "Basque (isolate)", "Latn", 2.0, 4, 0.38, "SOV"),
    Language("fa", "Persian", "IE: Iranian", "Arab", 111.6, 4, 0.48, "SOV"),
    Language("fi", "Finnish", "Uralic", "Latn", 54.3, 4, 0.29, "SVO"),
    Language("fr", "French", "IE: Romance", "Latn", 56.8, 5, 0.19, "SVO"),
    Language("gu", "Gujarati", "IE: Indo-Aryan", "Gujr", 1.9, 1, 0.42, "SOV"),
    Language("he", "Hebrew", "Afro-Asiatic", "Hebr", 31.6, 3, 0.25, "SVO"),
    Language("hi", "Hindi", "IE: Indo-Aryan", "Deva", 20.2, 4, 0.38, "SOV"),
    Language("ht", "Haitian Creole", "Creole (French-lexified)", "Latn", 0.0, 2, 0.27, "SVO"),
    Language("hu", "Hungarian", "Uralic", "Latn", 58.4, 4, 0.31, "SVO/SOV"),
    Language("id", "Indonesian", "Austronesian", "Latn", 148.3, 3, 0.27, "SVO"),
    Language("it", "Italian", "IE: Romance", "Latn", 30.2, 4, 0.14, "SVO"),
    Language("ja", "Japanese", "Japonic", "Jpan", 69.3, 5, 0.50, "SOV"),
    Language("jv", "Javanese", "Austronesian", "Latn", 0.2, 1, 0.40, "SVO"),
    Language("ka", "Georgian", "Kartvelian", "Geor", 9.1, 3, 0.32, "SVO/SOV"),
    Language("kk", "Kazakh", "Turkic", "Cyrl", 6.4, 3, 0.55, "SOV"),
    Language("ko", "Korean", "Koreanic (isolate)", "Hang", 54.2, 4, 0.45, "SOV"),
    Language("lt", "Lithuanian", "IE: Baltic", "Latn", 13.7, 3, 0.31, "SVO"),
    Language("ml", "Malayalam", "Dravidian", "Mlym", 7.6, 1, 0.46, "SOV"),
    Language("mr", "Marathi", "IE: Indo-Aryan", "Deva", 2.8, 2, 0.44, "SOV"),
    Language("ms", "Malay", "Austronesian", "Latn", 8.5, 3, 0.30, "SVO"),
    Language("my", "Burmese", "Sino-Tibetan", "Mymr", 2.0, 1, 0.61, "SOV"),
    Language("nl", "Dutch", "IE: Germanic", "Latn", 29.3, 4, 0.08, "SVO/SOV"),
    Language("pa", "Punjabi", "IE: Indo-Aryan", "Guru", 0.8, 2, 0.39, "SOV"),
    Language("pl", "Polish", "IE: Slavic", "Latn", 44.6, 4, 0.21, "SVO"),
    Language("pt", "Portuguese", "IE: Romance", "Latn", 49.1, 4, 0.16, "SVO"),
    Language("qu", "Quechua", "Quechuan", "Latn", 0.0, 1, 0.48, "SOV"),
    Language("ro", "Romanian", "IE: Romance", "Latn", 61.4, 3, 0.20, "SVO"),
    Language("ru", "Russian", "IE: Slavic", "Cyrl", 278.0, 4, 0.19, "SVO"),
    Language("sw", "Swahili", "Niger-Congo", "Latn", 1.6, 2, 0.53, "SVO"),
    Language("ta", "Tamil", "Dravidian", "Taml", 12.2, 3, 0.49, "SOV"),
    Language("te", "Telugu", "Dravidian", "Telu", 4.7, 1, 0.48, "SOV"),
    Language("th", "Thai", "Kra-Dai", "Thai", 71.7, 3, 0.36, "SVO"),
    Language("tl", "Tagalog", "Austronesian", "Latn", 3.1, 3, 0.39, "VSO"),
    Language("tr", "Turkish", "Turkic", "Latn", 20.9, 4, 0.49, "SOV"),
    Language("uk", "Ukrainian", "IE: Slavic", "Cyrl", 84.6, 3, 0.15, "SVO"),
    Language("ur", "Urdu", "IE: Indo-Aryan", "Arab", 5.7, 3, 0.38, "SOV"),
    Language("vi", "Vietnamese", "Austro-Asiatic", "Latn", 137.3, 4, 0.34, "SVO"),
    Language("wo", "Wolof", "Niger-Congo", "Latn", 0.0, 2, 0.36, "SVO"),
    Language("yo", "Yoruba", "Niger-Congo", "Latn", 0.0, 2, 0.40, "SVO"),
    Language("zh", "Mandarin", "Sino-Tibetan", "Hans", 63.5, 5, 0.29, "SVO"),
    # In the data, outside the fifty: what isn't known stays None. Families after Glottolog (whose
    # Atlantic-Congo is called Niger-Congo here), orders that most of lang2vec's sources mark; 0.0
    # for those not in XLM-R's list.
    Language("am", "Amharic", "Afro-Asiatic", "Ethi", distance=0.41, order="SOV"),
    Language("ceb", "Cebuano", "Austronesian", "Latn", 0.0, distance=0.39, order="VSO"),
    Language("cs", "Czech", "IE: Slavic", "Latn", distance=0.26, order="SVO"),
    Language("da", "Danish", "IE: Germanic", "Latn", distance=0.12, order="SVO"),
    Language("ha", "Hausa", "Afro-Asiatic", "Latn", distance=0.25, order="SVO"),
    Language("hr", "Croatian", "IE: Slavic", "Latn", distance=0.17, order="SVO"),
    Language("ig", "Igbo", "Niger-Congo", "Latn", 0.0, distance=0.41, order="SVO"),
    Language("is", "Icelandic", "IE: Germanic", "Latn", distance=0.13, order="SVO"),
    Language("rw", "Kinyarwanda", "Niger-Congo", "Latn", 0.0, distance=0.51, order="SVO"),
    Language("sk", "Slovak", "IE: Slavic", "Latn"),
    Language("sr", "Serbian", "IE: Slavic", "Latn", distance=0.20, order="SVO"),
    Language("sv", "Swedish", "IE: Germanic", "Latn", distance=0.07, order="SVO"),
    # MasakhaNER's.
    Language("bbj", "Ghomala", "Niger-Congo", "Latn", 0.0, distance=0.47, order="SVO"),
    Language("bm", "Bambara", "Mande", "Latn", 0.0, distance=0.45, order="SOV"),
    Language("ee", "Ewe", "Niger-Congo", "Latn", 0.0, distance=0.49, order="SVO"),
    Language("fon", "Fon", "Niger-Congo", "Latn", 0.0, distance=0.42, order="SVO"),
    Language("lg", "Luganda", "Niger-Congo", "Latn", 0.0, distance=0.53, order="SVO"),
    Language("luo", "Luo", "Nilotic", "Latn", 0.0, distance=0.32, order="SVO"),
    Language("mos", "Mossi", "Niger-Congo", "Latn", 0.0, distance=0.39),
    Language("ny", "Chichewa", "Niger-Congo", "Latn", 0.0, distance=0.55, order="SVO"),
    Language("pcm", "Nigerian Pidgin", "Creole (English-lexified)", "Latn", 0.0),
    Language("sn", "Shona", "Niger-Congo", "Latn", 0.0, distance=0.53, order="SVO"),
    Language("tn", "Setswana", "Niger-Congo", "Latn", 0.0),
    Language("tw", "Twi", "Niger-Congo", "Latn", 0.0, distance=0.58, order="SVO"),
    Language("xh", "Xhosa", "Niger-Congo", "Latn", distance=0.52, order="SVO"),
    Language("zu", "Zulu", "Niger-Congo", "Latn", 0.0, distance=0.56, order="SVO"),
    # AmericasNLI's.
    Language("ay", "Aymara", "Aymaran", "Latn", 0.0, distance=0.42, order="SOV"),
    Language("bzd", "Bribri", "Chibchan", "Latn", 0.0, distance=0.51, order="SOV"),
    Language("cni", "Asháninka", "Arawakan", "Latn", 0.0, distance=0.42, order="VSO"),
    Language("gn", "Guarani", "Tupian", "Latn", 0.0, distance=0.52, order="SVO"),
    Language("hch", "Wixarika", "Uto-Aztecan", "Latn", 0.0, distance=0.55, order="SOV"),
    Language("nah", "Nahuatl", "Uto-Aztecan", "Latn", 0.0),
    Language("oto", "Otomi", "Oto-Manguean", "Latn", 0.0),
    Language("shp", "Shipibo-Konibo", "Pano-Tacanan", "Latn", 0.0, distance=0.52, order="SOV"),
    Language("tar", "Rarámuri", "Uto-Aztecan", "Latn", 0.0, distance=0.42, order="SOV"),
)

LANGUAGES: Mapping[str, Language] = MappingProxyType(
    {language.code: language for language in _ROWS}
)


def language(code: str) -> Language:
    """The row of a language code; an unknown code is a XittError."""
    if code not in LANGUAGES:
        raise XittError(unknown("language", code, LANGUAGES, shown=len(LANGUAGES)))
    return LANGUAGES[code]


def distance(first: str, second: str) -> float | None:
    """The cosine distance of two languages' URIEL features (syntax_knn, 0 to 1), to two digits as
    the column `distance` has it to English; None where URIEL knows too little of one of them. An
    unknown code is a XittError."""
    codes = [language(first).code, language(second).code]
    if not all(code in SYNTAX for code in codes):
        return None
    a, b = (SYNTAX[code] for code in codes)
    shared = (a & b).bit_count()
    return max(0.0, round(1 - shared / math.sqrt(a.bit_count() * b.bit_count()), 2))
