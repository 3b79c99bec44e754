"""The invented producers of the sample: farmers, cooperatives and companies."""

from dataclasses import dataclass
from random import Random
from typing import Any

from demo.sample.sites import BAHE, Site

FARMERS = 220
#: Parts of Tibetan personal names: Chinese, Tibetan, Latin.
NAMES = (
    ("扎西", "བཀྲ་ཤིས", "Tashi"),
    ("次仁", "ཚེ་རིང", "Tsering"),
    ("多吉", "རྡོ་རྗེ", "Dorje"),
    ("卓玛", "སྒྲོལ་མ", "Dolma"),
    ("央金", "དབྱངས་ཅན", "Yangchen"),
    ("尼玛", "ཉི་མ", "Nyima"),
    ("达瓦", "ཟླ་བ", "Dawa"),
    ("洛桑", "བློ་བཟང", "Lobsang"),
    ("丹增", "བསྟན་འཛིན", "Tenzin"),
    ("平措", "ཕུན་ཚོགས", "Phuntsok"),
    ("格桑", "སྐལ་བཟང", "Kelsang"),
    ("白玛", "པདྨ", "Pema"),
    ("旺堆", "དབང་འདུས", "Wangdu"),
    ("罗布", "ནོར་བུ", "Norbu"),
    ("拉姆", "ལྷ་མོ", "Lhamo"),
    ("边巴", "སྤེན་པ", "Penpa"),
    ("普布", "ཕུར་བུ", "Phurbu"),
    ("巴桑", "པ་སངས", "Pasang"),
    ("米玛", "མིག་དམར", "Migmar"),
    ("拉巴", "ལྷག་པ", "Lhakpa"),
    ("索朗", "བསོད་ནམས", "Sonam"),
    ("德吉", "བདེ་སྐྱིད", "Dekyi"),
    ("曲珍", "ཆོས་སྒྲོན", "Chodron"),
    ("桑珠", "བསམ་གྲུབ", "Samdrup"),
)
FARMER_OF_BAHE = {"zh": "次仁央金", "bo": "ཚེ་རིང་དབྱངས་ཅན།", "en": "Tsering Yangchen"}


@dataclass(frozen=True)
class Producer:
    """One enterprise for catalog; `township` is its home."""

    code: str
    names: dict[str, str]
    role: str
    township: str
    language: str
    #: Members of a cooperative: the code and the share of the payout in basis points.
    members: tuple[tuple[str, int], ...] = ()

    def request(self) -> dict[str, Any]:
        """Return the body of its registration, without a phone: it could be a stranger's."""
        return {
            "code": self.code,
            "names": self.names,
            "roles": [self.role],
            "region_code": self.township[:6],
            "contact": {"language": self.language},
        }


def farmers(random: Random, townships: list[Site]) -> list[Producer]:
    """Make `FARMERS` farmers over all townships; the first lives in Bahe and sells matsutake."""
    pairs = [(first, last) for first in NAMES for last in NAMES if first is not last]
    random.shuffle(pairs)
    names = [
        {
            "zh": first[0] + last[0],
            "bo": f"{first[1]}་{last[1]}།",
            "en": f"{first[2]} {last[2]}",
        }
        for first, last in pairs
        if first[0] + last[0] != FARMER_OF_BAHE["zh"]
    ]
    made = [Producer("F-0001", FARMER_OF_BAHE, "producer", BAHE, "bo")]
    for number in range(2, FARMERS + 1):
        township = townships[number % len(townships)]
        language = random.choice(("bo", "bo", "zh"))
        code = f"F-{number:04d}"
        made.append(Producer(code, names[number], "producer", township.code, language))
    return made


#: Cooperatives: code, home township, name, number of members.
COOPERATIVES = (
    ("C-BAHE", "540421103", "巴河松茸合作社", "Bahe Matsutake Cooperative", 8),
    ("C-LULANG", "540402102", "鲁朗林下资源合作社", "Lulang Forest Cooperative", 6),
    ("C-MEDOG", "540423101", "墨脱茶叶合作社", "Medog Tea Cooperative", 7),
    ("C-SONGZONG", "540424103", "松宗天麻合作社", "Songzong Gastrodia Cooperative", 5),
    ("C-DONGGA", "540426103", "洞嘎辣椒合作社", "Dongga Chilli Cooperative", 5),
    ("C-MIRUI", "540402106", "米瑞苹果合作社", "Mirui Apple Cooperative", 6),
)
#: Companies: code, home township, name.
COMPANIES = (
    ("X-GAOYUAN", "540402101", "高原珍品（示例）公司", "Plateau Delicacies (sample) Co."),
    ("X-XUEYU", "540481101", "雪域药材（示例）公司", "Snowland Herbs (sample) Co."),
    ("X-LENGLIAN", "540402104", "林芝冷链（示例）公司", "Nyingchi Cold Chain (sample) Co."),
)


def cooperatives(random: Random, people: list[Producer]) -> list[Producer]:
    """Make the cooperatives; members are farmers of the county and get equal shares."""
    made = []
    for code, township, zh, en, count in COOPERATIVES:
        near = [person for person in people[1:] if person.township[:6] == township[:6]]
        chosen = random.sample(near, count)
        if code == "C-BAHE":
            chosen[0] = people[0]
        share = 10_000 // count
        members = tuple((person.code, share) for person in chosen)
        made.append(Producer(code, {"zh": zh, "en": en}, "cooperative", township, "zh", members))
    return made


def companies() -> list[Producer]:
    """Make the companies, which buy goods and process them."""
    return [
        Producer(code, {"zh": zh, "en": en}, "company", township, "zh")
        for code, township, zh, en in COMPANIES
    ]
