"""The clerk's guide is followed step by step, by the words it uses, as a new user would.

With TAKE_PICTURES set the guide's pictures are taken on the way.
"""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.system, pytest.mark.browser]

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "till.md").read_text(encoding="utf-8")
PICTURES = re.findall(r"images/(till-[a-z]+\.png)", GUIDE)
SITE = "540421103"


def picture(page: Any) -> Callable[[str], None]:
    """Return what takes a picture of the page for the guide."""

    def take(name: str) -> None:
        assert f"till-{name}.png" in PICTURES
        if os.environ.get("TAKE_PICTURES"):
            page.screenshot(path=DOCS / "images" / f"till-{name}.png")

    return take


def test_a_new_clerk_follows_the_guide(start_with_sample: Any, make_till: Any) -> None:
    """Slow: a day of a clerk in a real browser."""
    system = start_with_sample("embedded")
    added = system.command("devices", "add", SITE, "--name", "柜台二", "--json")
    device = json.loads(added.stdout)
    code = device["code"]
    url = system.urls["catalog"]
    till = make_till(
        url, locale="zh-CN", viewport={"width": 1024, "height": 720}, device_scale_factor=0.75
    )
    page = till.page
    take = picture(page)
    press = lambda name: page.get_by_role("button", name=name, exact=True).click()  # noqa: E731

    def receipt() -> None:
        # It opens once all is on disk; who goes elsewhere before is led to it.
        expect(page.locator(".till-receipt")).to_be_visible()

    # 1 登记
    page.get_by_label("登记码").fill(device["enrolment_code"])
    press("登记为收银台")
    # 2 开班
    page.get_by_label("您的姓名").fill("卓玛")
    page.get_by_label("开班时钱箱里的现金").fill("200")
    press("开班")
    for goods, packs in (("HONEY-1", 4), ("TSAMPA-1", 5), ("CORDYCEPS-2000", 3),
                         ("MATSUTAKE-DRIED-2", 6), ("BLACK-FUNGUS-1", 4)):  # fmt: skip
        granted = system.command("devices", "grant", code, goods, str(packs), "--packs")
        assert granted.returncode == 0, granted.stderr
    till.go("status")
    press("现在联系中心")
    # 3 卖货
    till.go("sell")
    expect(page.locator(".till-tile", has_text="冬虫夏草")).to_be_visible()
    page.locator(".till-tile", has_text="野生蜂蜜").click()
    page.get_by_label("数量").fill("750")
    take("quantity")
    press("放入购物单")
    page.locator(".till-tile", has_text="冬虫夏草").click()
    page.get_by_label("数量").fill("10")
    press("放入购物单")
    take("sell")
    page.get_by_role("button", name="收款").click()
    page.get_by_label("收到").fill("500")
    take("pay")
    press("已收款，出小票")
    expect(page.locator("#receipt-state")).to_have_text("已到中心")
    take("receipt")

    # 4 没网
    system.stop("all")
    for grams in ("500", "200"):
        till.go("sell")
        page.locator(".till-tile", has_text="青稞糌粑").click()
        page.get_by_label("数量").fill(grams)
        press("放入购物单")
        page.get_by_role("button", name="收款").click()
        page.get_by_text("手机支付", exact=True).click()
        press("已收款，出小票")
        receipt()
    expect(page.locator("#unsent")).to_have_text("2 条未传")
    page.reload()
    # 5 作废、退货
    till.go("journal")
    take("journal")
    page.locator("main a", has_text="收据").first.click()
    press("作废这一单")
    voided = page.url
    press("作废并退款")
    expect(page).not_to_have_url(voided)
    expect(page.locator("#unsent")).to_have_text("3 条未传")
    till.go("status")
    press("现在联系中心")
    expect(page.locator("main")).to_contain_text("中心没有应答")
    take("status")
    system.start("all")
    press("现在联系中心")
    expect(page.locator("#unsent")).to_have_text("0 条未传")

    # 6 取件、订货
    till.go("order")
    page.get_by_role("button", name="+ 林芝苹果 · 1 级").click()
    page.get_by_label("顾客姓名").fill("次仁")
    page.get_by_label("电话").fill("13800138000")
    page.get_by_label("地址").fill("巴河镇 1 号")
    press("接下订单")
    receipt()
    # 7 退回
    till.go("stock")
    take("stock")
    page.get_by_role("button", name="退回中心").first.click()
    page.locator("dialog").get_by_role("button", name="退回中心", exact=True).click()
    # 8 交班
    till.go("shift")
    press("交班")
    page.locator("summary").click()
    page.get_by_label("张数 ¥100.00").fill("6")
    take("shift")
    page.get_by_label("差额说明").fill("多收")
    page.locator("dialog").get_by_role("button", name="交班", exact=True).click()
    receipt()
    till.go("status")
    press("现在联系中心")
    expect(page.locator("#unsent")).to_have_text("0 条未传")
    listed = system.command("devices", "list")
    assert code in listed.stdout
    assert till.errors == []


def test_the_guides_words_are_those_on_the_screen() -> None:
    texts = (Path(__file__).parents[2] / "web/till/static/js/texts/zh.js").read_text("utf-8")
    on_screen = set(re.findall(r'"([^"]+)"', texts))

    words = set(re.findall("「([^」]+)」", GUIDE))

    assert len(words) > 25
    assert words - on_screen == set()
    for picture_name in PICTURES:
        assert (DOCS / "images" / picture_name).stat().st_size < 120_000
