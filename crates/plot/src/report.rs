use std::path::Path;

use crate::draw::Drawing;
use crate::figure::Figure;
use crate::scene::escape;
use crate::{PlotError, Table, save, theme};

/// A page of sections in one HTML file: no script, no external resource, light and dark by the
/// reader's preference, fit for phones and for print.
#[derive(Clone, Debug, Default)]
pub struct Report {
    title: String,
    lead: Vec<String>,
    sections: Vec<Section>,
}

/// A part of a [`Report`] under its own heading; blocks appear in the order they were added.
#[derive(Clone, Debug, Default)]
pub struct Section {
    title: String,
    blocks: Vec<Block>,
}

#[derive(Clone, Debug)]
enum Block {
    Text(String),
    Code(String),
    Table(String),
    Figure(String),
}

impl Report {
    /// An empty report.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// Adds opening text; blank lines separate paragraphs.
    pub fn lead(&mut self, text: &str) -> &mut Self {
        self.lead.push(text.into());
        self
    }

    /// Opens a section at the end of the page.
    pub fn section(&mut self, title: impl Into<String>) -> &mut Section {
        self.sections.push(Section { title: title.into(), blocks: Vec::new() });
        let last = self.sections.len() - 1;
        &mut self.sections[last]
    }

    /// The page. From three sections on it has a table of contents.
    pub fn html(&self) -> String {
        let title = escape(&self.title);
        let lead: String = self.lead.iter().map(|t| paragraphs(t)).collect();
        let contents = if self.sections.len() > 2 {
            let item =
                |(i, s): (usize, &Section)| format!("<li><a href=\"#s{i}\">{}</a></li>", escape(&s.title));
            let items: String = self.sections.iter().enumerate().map(item).collect();
            format!("<nav aria-label=\"Contents\"><ol>{items}</ol></nav>\n")
        } else {
            String::new()
        };
        let sections: String = self.sections.iter().enumerate().map(|(i, s)| s.html(i)).collect();
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <meta name=\"color-scheme\" content=\"light dark\"/>\n<title>{title}</title>\n\
             <style>{}{PAGE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n\
             <div class=\"lead\">{lead}</div>\n</header>\n{contents}<main>\n{sections}</main>\n</body>\n</html>\n",
            theme::adaptive_sheet()
        )
    }

    /// Writes the page. The file appears whole or not at all.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), PlotError> {
        save(path, self.html().as_bytes())
    }
}

impl Section {
    /// Adds text; blank lines separate paragraphs.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.blocks.push(Block::Text(paragraphs(text)));
        self
    }

    /// Adds a table.
    pub fn table(&mut self, table: &Table) -> &mut Self {
        self.blocks.push(Block::Table(table.html()));
        self
    }

    /// Adds a figure; figures that follow each other stand side by side where there is room.
    pub fn figure(&mut self, figure: &Figure, caption: &str) -> &mut Self {
        let caption = if caption.is_empty() {
            String::new()
        } else {
            format!("<figcaption>{}</figcaption>", escape(caption))
        };
        let svg = Drawing::new(figure).svg(&figure.title, None);
        self.blocks
            .push(Block::Figure(format!("<figure><div class=\"scroll\">{svg}</div>{caption}</figure>\n")));
        self
    }

    /// Adds a drawing of one's own, an SVG element whose styles are for it alone.
    pub fn drawing(&mut self, svg: &str, caption: &str) -> &mut Self {
        let caption = escape(caption);
        self.blocks.push(Block::Figure(format!(
            "<figure><div class=\"scroll\">{svg}</div><figcaption>{caption}</figcaption></figure>\n"
        )));
        self
    }

    /// Adds a command or other preformatted text.
    pub fn code(&mut self, code: &str) -> &mut Self {
        self.blocks.push(Block::Code(format!("<pre><code>{}</code></pre>\n", escape(code))));
        self
    }

    fn html(&self, number: usize) -> String {
        let mut out = format!("<section id=\"s{number}\">\n<h2>{}</h2>\n", escape(&self.title));
        let figure = |b: &Block| matches!(b, Block::Figure(_));
        for group in self.blocks.chunk_by(|a, b| figure(a) && figure(b)) {
            let blocks: String = group
                .iter()
                .map(|(Block::Text(h) | Block::Code(h) | Block::Table(h) | Block::Figure(h))| h.as_str())
                .collect();
            out += &if figure(&group[0]) {
                format!("<div class=\"figures\">\n{blocks}</div>\n")
            } else {
                blocks
            };
        }
        out + "</section>\n"
    }
}

fn paragraphs(text: &str) -> String {
    text.split("\n\n")
        .map(str::trim)
        .filter(|p| !p.is_empty())
        .map(|p| format!("<p>{}</p>\n", escape(p)))
        .collect()
}

/// Layout and type of the page.
const PAGE: &str = "
:root{--paper:#fff;--ink:#1b1f24;--muted:#5b6570;--rule:#dfe3e8;--tint:#f6f7f9;--link:#0060a0}
@media (prefers-color-scheme:dark){:root{--paper:#14181d;--ink:#e8ebef;--muted:#9aa5b1;--rule:#2f3740;--tint:#1b2128;--link:#7cc0f5}}
*{box-sizing:border-box}
html{background:var(--paper);color:var(--ink);font:16px/1.6 system-ui,sans-serif;-webkit-text-size-adjust:100%}
body{max-width:1200px;margin:0 auto;padding:clamp(20px,5vw,64px) clamp(16px,4vw,48px) 96px}
h1{font-size:clamp(26px,4vw,38px);line-height:1.2;letter-spacing:-.015em;margin:0 0 .5em}
h2{font-size:22px;line-height:1.3;letter-spacing:-.01em;margin:0 0 .6em}
p{margin:0 0 1em;max-width:72ch}
.lead{font-size:18px;color:var(--muted)}
a{color:var(--link);text-underline-offset:.15em}
nav{margin:24px 0 0;padding:16px 20px;background:var(--tint);border-radius:8px}
nav ol{margin:0;padding-left:1.5em;columns:18em auto;column-gap:2.5em}
nav li{break-inside:avoid;font-variant-numeric:tabular-nums}
section{margin-top:48px;padding-top:32px;border-top:1px solid var(--rule)}
.scroll{overflow-x:auto;max-width:100%}
table{border-collapse:collapse;margin:4px 0 24px;font-size:15px;font-variant-numeric:tabular-nums}
th,td{padding:7px 16px;text-align:left;vertical-align:baseline;white-space:nowrap;border-bottom:1px solid var(--rule)}
th{font-weight:600;color:var(--muted);font-size:14px;border-bottom-width:2px}
th:first-child,td:first-child{padding-left:0}
.number{text-align:right}
.best{font-weight:650}
pre{margin:0 0 1.2em;padding:12px 16px;overflow-x:auto;background:var(--tint);border-radius:8px;font:14px/1.5 ui-monospace,monospace}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:24px 40px;margin:8px 0 24px;align-items:start}
figure{margin:0;max-width:760px;min-width:0}
figure svg{display:block;width:100%;min-width:440px;height:auto}
figcaption{margin-top:6px;padding:0 18px;color:var(--muted);font-size:14px;line-height:1.5;max-width:80ch}
@media print{html{font-size:11pt}body{padding:0;max-width:none}nav{break-after:avoid}h2{break-after:avoid}figure,table,pre{break-inside:avoid}section{border-top:0;padding-top:0}figure svg{min-width:0}}
";
