// @vitest-environment happy-dom
import { renderToStaticMarkup } from "react-dom/server";
import { describe, expect, test } from "vitest";
import { Markdown } from "../../src/markdown/index.js";

function render(text: string): HTMLElement {
  const page = document.createElement("div");
  page.innerHTML = renderToStaticMarkup(<Markdown text={text} />);
  return page;
}

const words = (text: string) => render(text).textContent?.trim();

/** The HTML inside the only block. */
const html = (text: string) =>
  render(text)
    .firstElementChild?.innerHTML.replace(/ (?:dir|rel)="[^"]*"/g, "")
    .replace(/^<p>(.*)<\/p>$/s, "$1");

const asTyped = [
  "We keep a pair if x<y and z>w, and drop it if n<k or m>q.",
  "The <p-value> was below 0.05.",
  "Use <your-token> here, not <token/>.",
  "p<0.001 for all but <i, j> pairs.",
  "Growth at 20~25°C for 3~5 h.",
  "It took ~5 min, or ~6 min with controls.",
  "pH 6~7, 10~20 mM and 3~5 replicates",
  "20~25~30 are the three settings.",
  "n = 2*3*4 samples",
  "a**2 + b**2 = c**2",
  "k(x)*k(y)*k(z)",
  "The gene_name_with_underscores is snake_case.",
  "p* = 0.05 and q* = 0.10",
  "It costs $5 and $10 per sample.",
  "Between $1,000 and $2,000 were spent.",
  "We paid $3 million for it and $4 million for them.",
  "From 5$ to 10$ each.",
  "x^2+y^2 = z^2",
  "2^10 = 1024 and e^x",
  "if (a < b && c > d) return;",
  "List<String> is a generic type.",
  "vector<vector<int>> v;",
  "See Fig. 3(a) and Table S2.",
  "Smith et al. [12] and [13, 14] agree.",
  "[citation needed]",
  "#1 in its class",
  "R² = 0.98, Δ = −3 ± 0.2 μm",
  "5′-ACGT-3′",
  "α-helix and β-sheet",
  "C:\\data\\new",
  "regression y ~ x + (1|subject)",
  "lm(y ~ a*b, data = d)",
  "5 < 6 > 4",
  "<3 this paper",
  "a <- b; c -> d",
  "1 << 3 and 8 >> 2",
  "<!-- not a comment -->",
  "<script>alert(1)</script>",
  "<img src=x onerror=alert(2)>",
  "<?php echo 1 ?>",
  "Tom & Jerry, AT&T",
  "50% of 3/4",
  "10 µg/mL; 3 × 10 cells",
  "مرحبا بالعالم",
  "שלום עולם",
  "它在20~25摄氏度",
  "e.g. (see above); i.e. -20 °C",
  "@ada wrote: yes!",
  "*p < 0.05, **p < 0.01",
  "50 < n < 100",
];

test.each(asTyped)("shown as typed: %s", (text) => {
  expect(words(text)).toBe(text);
});

const becomes: [string, string][] = [
  ["H~2~O and CO~2~", "H<sub>2</sub>O and CO<sub>2</sub>"],
  ["x~i,j~ is the weight", "x<sub>i,j</sub> is the weight"],
  ["10^-3^ mol and Ca^2+^", "10<sup>-3</sup> mol and Ca<sup>2+</sup>"],
  ["^13^C labelled", "<sup>13</sup>C labelled"],
  ["m<sup>2</sup> and a<sub>1</sub>", "m<sup>2</sup> and a<sub>1</sub>"],
  ["This is ~~wrong~~ right.", "This is <del>wrong</del> right."],
  ["*E. coli* and **not** `B. subtilis`", "<em>E. coli</em> and <strong>not</strong> <code>B. subtilis</code>"],
  [
    "see doi:10.1038/s41586-020-2649-2.",
    'see <a href="https://doi.org/10.1038/s41586-020-2649-2">doi:10.1038/s41586-020-2649-2</a>.',
  ],
  [
    "(10.1016/S0140-6736(20)30183-5)",
    '(<a href="https://doi.org/10.1016/S0140-6736(20)30183-5">10.1016/S0140-6736(20)30183-5</a>)',
  ],
  ["PMID: 12345678", '<a href="https://pubmed.ncbi.nlm.nih.gov/12345678/">PMID: 12345678</a>'],
  [
    "arXiv:1706.03762v5 and arXiv:hep-th/9901001",
    '<a href="https://arxiv.org/abs/1706.03762v5">arXiv:1706.03762v5</a> and <a href="https://arxiv.org/abs/hep-th/9901001">arXiv:hep-th/9901001</a>',
  ],
  ["[the paper](https://example.org/a)", '<a href="https://example.org/a">the paper</a>'],
  ["https://example.org/a_b_c.", '<a href="https://example.org/a_b_c">https://example.org/a_b_c</a>.'],
  ["[a link](javascript:alert(4))", "<span>a link</span>"],
  ["![picture](http://127.0.0.9:9/p.png)", '<a href="http://127.0.0.9:9/p.png">picture</a>'],
  ["# A heading", '<p class="heading">A heading</p>'],
];

test.each(becomes)("%s", (text, expected) => {
  expect(html(text)?.replace(/^<p class="heading">(.*)<\/p>$/, '<p class="heading">$1</p>')).toBe(expected);
});

const formulas: [string, string][] = [
  ["$\\beta_{0}^{*}$", "\\beta_{0}^{*}"],
  ["$\\{x\\}$", "\\{x\\}"],
  ["$a \\\\ b$", "a \\\\ b"],
  ["Let $x_1, \\dots, x_n$ be given.", "x_1, \\dots, x_n"],
  ["$p<0.05$", "p<0.05"],
  ["$a_b c_d$ and no emphasis", "a_b c_d"],
  ["$5 \\times 3$", "5 \\times 3"],
  ["$2^n$", "2^n"],
  ["\\(\\alpha^2\\)", "\\alpha^2"],
  ["\\[ E = mc^2 \\]", "E = mc^2"],
  ["$$\n\\sum_{i=1}^n i\n$$", "\\sum_{i=1}^n i"],
  ["| a | $|x|_1$ |\n|---|---|\n| $\\mu$ | 2 |", "\\mu"],
];

test.each(formulas)("is a formula: %s", (text, tex) => {
  const page = render(text);
  expect([...page.querySelectorAll("annotation")].map((one) => one.textContent)).toContain(tex);
  expect(page.querySelector(".katex-error")).toBeNull();
});

test.each(["$$\\frac{a}{b}$$", "$$\n\\frac{a}{b}\n$$", "\\[\\frac{a}{b}\\]", "so $$\\frac{a}{b}$$ holds"])(
  "stands by itself: %s",
  (text) => {
    expect(render(text).querySelectorAll(".formula .katex-display")).toHaveLength(1);
  },
);

test("dollar signs in code make no formula, and escaped brackets stay brackets", () => {
  expect(words("`echo $HOME $PATH` and `\\(x^2\\)`")).toBe("echo $HOME $PATH and \\(x^2\\)");
  expect(words("\\[citation needed\\]")).toBe("[citation needed]");
  expect(render("```sh\necho $A_1 $B_1\n```").querySelector(".katex")).toBeNull();
});

test("a formula that KaTeX does not know is shown, not thrown", () => {
  expect(words("before $\\unknown{x}$ after")).toContain("before");
  expect(words("$\\def\\a{\\a\\a}\\a$ end")).toContain("end");
  expect(render("$\\href{javascript:alert(1)}{x}$").querySelector("a")).toBeNull();
});

describe("for everyone", () => {
  test("footnotes lead to their notes and back, with ids that are unique on the page", () => {
    const page = document.createElement("div");
    const text = "One[^1] and two[^1].\n\n[^1]: The note.";
    page.innerHTML = renderToStaticMarkup(
      <>
        <Markdown text={text} />
        <Markdown text={text} />
      </>,
    );
    const ids = [...page.querySelectorAll("[id]")].map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const links = [...page.querySelectorAll("a")];
    expect(links.length).toBeGreaterThanOrEqual(8);
    for (const link of links) expect(ids).toContain(link.getAttribute("href")?.slice(1));
    for (const link of page.querySelectorAll("[aria-describedby]"))
      expect(ids).toContain(link.getAttribute("aria-describedby"));
  });

  test("each block has its own text direction", () => {
    const page = render("English.\n\nמאמר\n\n- עברית\n\n> عربي\n\n| a |\n|---|\n| ב |");
    for (const block of page.querySelectorAll("p, li, td, th, blockquote"))
      expect(block.getAttribute("dir")).toBe("auto");
    expect(render("$x$").querySelector(".katex")?.parentElement?.getAttribute("dir")).toBe("ltr");
  });

  test("task lists have labels, code has a name and a copy button, tables can be reached", () => {
    const page = render(
      "- [x] read the data\n- [ ] rerun\n\n```python\nprint(1)\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |",
    );
    expect(
      [...page.querySelectorAll("input")].map((box) => [box.getAttribute("aria-label"), box.hasAttribute("checked")]),
    ).toEqual([
      ["read the data", true],
      ["rerun", false],
    ]);
    expect(page.querySelector("figure")?.getAttribute("aria-label")).toBe("Code, python");
    expect(page.querySelector("figure button")?.textContent).toBe("Copy");
    expect(page.querySelector("pre")?.getAttribute("tabindex")).toBe("0");
    expect(page.querySelector(".table")?.getAttribute("tabindex")).toBe("0");
  });
});

test.each([
  ["1. ".repeat(2_000)],
  [">".repeat(5_000)],
  ["> ".repeat(5_000)],
  ["- ".repeat(9_000)],
  ["[".repeat(20_000)],
  ["![".repeat(10_000)],
  ["[a](".repeat(9_000)],
  ["*a ".repeat(15_000)],
  ["**a *b ".repeat(6_000)],
  ["_a_".repeat(15_000)],
  [`$${"{".repeat(20_000)}$`],
  ["$".repeat(40_000)],
  ["`".repeat(40_000)],
  ["a`".repeat(20_000)],
  ["~a~".repeat(15_000)],
  ["^a".repeat(20_000)],
  ["10.1234/".repeat(6_000)],
  [`10.1234/${")".repeat(40_000)}`],
  ["<sub>".repeat(9_000)],
  ["| a ".repeat(12_000)],
  [Array.from({ length: 200 }, (_, depth) => `${"  ".repeat(depth)}- x`).join("\n")],
  ["[^1]: ".repeat(8_000)],
  ["\\(".repeat(20_000)],
  ["&".repeat(40_000)],
  ["\n\n".repeat(20_000)],
])("a hostile text does not break the page: %#", (text) => {
  const begun = performance.now();
  const shown = renderToStaticMarkup(<Markdown text={text} />);
  expect(performance.now() - begun).toBeLessThan(3_000);
  expect(shown).toContain("<");
});

describe("mentions", () => {
  const ada = { id: 1, username: "ada", avatar_url: null };
  const dotted = { id: 2, username: "g.hopper", avatar_url: null };
  const heron = { id: null, username: "Gray Heron", avatar_url: null };
  const viewer = { user_id: 1, memberships: [] };
  const found = (text: string, who = viewer) => {
    const page = document.createElement("div");
    page.innerHTML = renderToStaticMarkup(<Markdown text={text} mentions={[ada, dotted, heron]} viewer={who} />);
    return [...page.querySelectorAll(".mention")].map((one) => `${one.tagName.toLowerCase()} ${one.textContent}`);
  };

  test.each([
    ["@ada, see table 2.", ["mark @ada"]],
    ["**@Ada** and @g.hopper.", ["mark @Ada", "span @g.hopper"]],
    ["@Gray-Heron: yes (@ada)", ["span @Gray-Heron", "mark @ada"]],
    ["@adam, x@ada, @ada1", []],
    ["@ada-x and @ada_x, as nobody has this name, and @@ada", ["mark @ada", "mark @ada", "mark @ada"]],
    ["`@ada` and [@ada](https://example.org)", []],
    ["@grace", []],
    ["```\n@ada\n```", []],
    ["H~2~O @ada 10^-3^", ["mark @ada"]],
  ])("are marked where they are ones: %s", (text, expected) => {
    expect(found(text)).toEqual(expected);
  });

  test("another reader's mentions do not stand out, and a text without any is as it was", () => {
    expect(found("@ada", { user_id: 9, memberships: [] })).toEqual(["span @ada"]);
    expect(render("@ada").querySelector(".mention")).toBe(null);
  });
});
