//! Pages that name a file name one that exists.

use std::path::Path;

use crate::{files, in_repository, root};

/// Targets of Markdown links: what stands in round brackets after square ones.
fn links(page: &str) -> Vec<&str> {
    let starts = page.match_indices("](").map(|(at, bracket)| at + bracket.len());
    starts.filter_map(|start| page[start..].split(')').next()).collect()
}

/// What stands between backticks and begins with a folder of this repository.
fn paths(page: &str) -> Vec<&str> {
    let folders: Vec<String> = std::fs::read_dir(root())
        .unwrap()
        .filter_map(|entry| entry.ok().filter(|entry| entry.path().is_dir()))
        .map(|entry| format!("{}/", entry.file_name().to_string_lossy()))
        .filter(|folder| folder != "target/")
        .collect();
    let quoted = page.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    quoted
        .filter(|text| folders.iter().any(|folder| text.starts_with(folder.as_str())))
        .filter(|text| !text.contains(['*', '…', ' ', '<']))
        .collect()
}

/// The anchor that a heading gets: lower case, hyphens for spaces, no punctuation.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_between_pages_lead_somewhere() {
    for page in files(".md") {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target.exists(), "{} links to {link}", in_repository(&page));
            if !fragment.is_empty() {
                let target = std::fs::read_to_string(&target).unwrap();
                let mut headings = target.lines().filter(|line| line.starts_with('#'));
                let found = headings.any(|heading| anchor(heading) == fragment);
                assert!(found, "{} links to {link}", in_repository(&page));
            }
        }
    }
}

#[test]
fn paths_in_the_pages_exist() {
    for page in files(".md") {
        let text = std::fs::read_to_string(&page).unwrap();
        for path in paths(&text) {
            // `path::item` and `path:line` point into a file.
            let file = path.split(':').next().unwrap_or(path);
            assert!(root().join(file).exists(), "{} names {path}", in_repository(&page));
        }
    }
}

#[test]
fn the_pages_that_people_look_for_are_there() {
    for page in [
        "README.md",
        "SECURITY.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "docs/protocol.md",
        "docs/threat-model.md",
        "docs/operations.md",
        "yocto/meta-kith/README.md",
    ] {
        let text = std::fs::read_to_string(root().join(Path::new(page)));
        assert!(text.is_ok_and(|text| !text.trim().is_empty()), "{page}");
    }
}

#[test]
fn an_anchor_is_made_as_the_renderers_make_it() {
    assert_eq!(anchor("### 6.1 Handshake"), "61-handshake");
    assert_eq!(links("see [a](b.md#c) and [d](e)"), ["b.md#c", "e"]);
}
