//! The pages of the documentation: their links and anchors, the table of contents of the book, and the option names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use regex::Regex;

/// The pages outside of `docs`.
const TOP_PAGES: [&str; 4] = ["README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"];

/// Options that were renamed before the first release, without their dashes.
const OLD_OPTIONS: [&str; 7] = ["then", "to", "from", "except", "top", "watch", "metrics"];

/// The links and anchors of a page.
#[derive(Default)]
struct Page {
    /// The destinations of links and images, also in HTML.
    links: Vec<String>,
    /// The anchors of headings, as GitHub derives them, and the anchors in HTML.
    anchors: BTreeSet<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the paths of all pages, relative to the root of the repository.
fn paths() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = TOP_PAGES.iter().map(PathBuf::from).collect();
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    assert!(paths.len() > 10, "{paths:?}");
    paths
}

impl Page {
    fn parse(text: &str) -> Self {
        let html_link = Regex::new(r#"\b(?:href|src|srcset)="([^"]*)""#).unwrap();
        let html_anchor = Regex::new(r#"\b(?:id|name)="([^"]*)""#).unwrap();
        let mut page = Self::default();
        let mut heading: Option<String> = None;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Html(html) | Event::InlineHtml(html) => {
                    page.links.extend(html_link.captures_iter(&html).map(|found| found[1].to_owned()));
                    page.anchors.extend(html_anchor.captures_iter(&html).map(|found| found[1].to_owned()));
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::End(TagEnd::Heading(_)) => {
                    let anchor = anchor(&heading.take().unwrap_or_default());
                    let count = counts.entry(anchor.clone()).or_default();
                    page.anchors.insert(if *count == 0 { anchor } else { format!("{anchor}-{count}") });
                    *count += 1;
                }
                _ => {}
            }
        }
        page
    }
}

/// Returns the anchor that GitHub derives from the text of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|&it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
    kept.map(|it| if it == ' ' { '-' } else { it }).collect::<String>().to_lowercase()
}

/// Resolves `.` and `..` in a path. Returns `None` if the path leaves the repository.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => normal.push(part),
            Component::CurDir => {}
            Component::ParentDir => {
                if !normal.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(normal)
}

/// Returns the reason why a link on the page at `from` is broken. Returns `None` for links to other sites.
fn defect(from: &Path, link: &str, pages: &BTreeMap<PathBuf, Page>) -> Option<&'static str> {
    if Regex::new("^([a-z]+:|//)").unwrap().is_match(link) {
        return None;
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let target = match path {
        "" => Some(from.to_owned()),
        path => normal(&from.parent().unwrap_or(Path::new("")).join(path)),
    };
    let Some(target) = target else { return Some("leaves the repository") };
    if !root().join(&target).exists() {
        return Some("no such file");
    }
    let page = pages.get(&target)?;
    let is_missing = anchor.is_some_and(|anchor| !page.anchors.contains(anchor));
    is_missing.then_some("no such anchor")
}

#[test]
fn every_relative_link_has_a_target() {
    let parse = |path: PathBuf| {
        let page = Page::parse(&fs::read_to_string(root().join(&path)).unwrap());
        (path, page)
    };
    let pages: BTreeMap<PathBuf, Page> = paths().into_iter().map(parse).collect();
    let mut defects = Vec::new();
    for (path, page) in &pages {
        for link in &page.links {
            let defect = defect(path, link, &pages);
            defects.extend(defect.map(|defect| format!("{}: {link}: {defect}", path.display())));
        }
    }
    assert!(defects.is_empty(), "{}", defects.join("\n"));
}

#[test]
fn anchors_are_those_of_github() {
    let page = Page::parse(
        "# Ports, `--ports`\n\n## What's new?\n\n## What's new?\n\n### A_b c-d (e)\n\n<a id=\"here\"></a>\n\n```\n# no heading\n```\n",
    );
    let anchors: Vec<&str> = page.anchors.iter().map(String::as_str).collect();
    assert_eq!(anchors, ["a_b-c-d-e", "here", "ports---ports", "whats-new", "whats-new-1"]);
}

#[test]
fn links_in_html_and_images_count() {
    let text = "![a](b.svg) [c][d]\n\n<picture><source srcset=\"e.svg\"><img src=\"f.svg\"></picture>\n\n`[no](link)`\n\n[d]: g.md\n";
    assert_eq!(Page::parse(text).links, ["b.svg", "g.md", "e.svg", "f.svg"]);
}

#[test]
fn broken_links_are_found() {
    let pages = [("docs/a.md", "# One\n"), ("docs/b/c.md", "")].map(|(path, text)| (path.into(), Page::parse(text)));
    let pages = BTreeMap::from(pages);
    for (link, expected) in [
        ("https://example.org/nothing", None),
        ("mailto:somebody@example.org", None),
        ("../../Cargo.toml", None),
        ("../../src/cli.rs#L1", None),
        ("../nothing.md", Some("no such file")),
        ("../../../elsewhere.md", Some("leaves the repository")),
        ("/docs/a.md", Some("leaves the repository")),
        ("#one", Some("no such anchor")),
    ] {
        // The page itself need not exist.
        let from = if link.starts_with('#') { Path::new("README.md") } else { Path::new("docs/b/c.md") };
        let pages =
            if link.starts_with('#') { &BTreeMap::from([("README.md".into(), Page::parse("# Two"))]) } else { &pages };
        assert_eq!(defect(from, link, pages), expected, "{link}");
    }
}

#[test]
fn every_page_of_the_book_is_in_its_summary() {
    let summary = Page::parse(&fs::read_to_string(root().join("docs/SUMMARY.md")).expect("docs/SUMMARY.md exists"));
    let listed: BTreeSet<PathBuf> =
        summary.links.iter().filter_map(|link| normal(&Path::new("docs").join(link))).collect();
    let pages = paths().into_iter().filter(|path| path.starts_with("docs") && !path.ends_with("SUMMARY.md"));
    let missing: Vec<PathBuf> = pages.filter(|path| !listed.contains(path)).collect();
    assert!(missing.is_empty(), "docs/SUMMARY.md does not list {missing:?}");
}

#[test]
fn no_file_has_an_old_option_name() {
    // A release archive has no repository.
    if !root().join(".git").exists() {
        return;
    }
    let list =
        Command::new("git").args(["-c", "safe.directory=*", "ls-files", "-z"]).current_dir(root()).output().unwrap();
    assert!(list.status.success(), "{list:?}");
    let old = Regex::new(&format!(r"(?:^|[^\w-])--(?:{})(?:$|[^\w-])", OLD_OPTIONS.join("|"))).unwrap();
    let mut found = Vec::new();
    for path in String::from_utf8(list.stdout).unwrap().split_terminator('\0') {
        // Skips binary files, and tracked files that were removed.
        let Ok(text) = fs::read_to_string(root().join(path)) else { continue };
        // The manual page escapes its dashes.
        let lines = text.lines().enumerate().filter(|(_, line)| old.is_match(&line.replace("\\-", "-")));
        found.extend(lines.map(|(number, line)| format!("{path}:{}: {line}", number + 1)));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
