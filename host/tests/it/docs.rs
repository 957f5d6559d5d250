//! The pages of `docs`: what they name exists.

use std::fs;

use lacewing_base::{LimitKey, Outcome};

use crate::{
    harness::{module_file, root},
    prose::all_pages,
};

/// The rows of the tables of a page, as cells.
fn rows(page: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs").join(page)).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| word"));
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// The words in backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn the_glossary_names_modules_that_exist() {
    let rows = rows("glossary.md");
    assert!(rows.len() > 30, "{} words", rows.len());
    for row in &rows {
        for module in quoted(row.last().unwrap()) {
            let path = module_file(module);
            assert!(path.exists(), "{}: there is no module {module}", row[0]);
        }
    }
}

#[test]
fn each_constant_of_scheduling_is_in_the_file_that_the_page_names() {
    let mut constants = 0;
    for row in rows("scheduling.md") {
        let Some(file) = quoted(row.last().unwrap()).next() else { continue };
        let module = file.trim_end_matches(".rs").replace('/', "::");
        let text =
            fs::read_to_string(module_file(&module)).unwrap_or_else(|_| panic!("no file {file}"));
        for name in quoted(&row[0]) {
            let found = match name.strip_prefix("admission.") {
                Some(key) => text.contains(&format!("Key: `{key}`")),
                None => text.contains(&format!("const {name}: ")),
            };
            assert!(found, "{file} has no {name}");
            constants += 1;
        }
    }
    assert!(constants > 15, "{constants} constants");
}

/// The targets of the links of a page, without those of the web.
fn links(page: &str) -> Vec<&str> {
    let prose = page.split("```").step_by(2);
    let targets = prose.flat_map(|prose| prose.split("](").skip(1));
    let targets = targets.filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://")).collect()
}

/// The name by which a heading is linked to.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_of_pages_lead_somewhere() {
    let mut links_seen = 0;
    for (path, page) in all_pages() {
        for link in links(&page) {
            // A link of rustdoc.
            if link.contains('@') {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{}: {link}", path.display());
            if !heading.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                let found =
                    headings.any(|line| anchor(line.trim_start_matches('#').trim()) == heading);
                assert!(found, "{}: {link}", path.display());
            }
            links_seen += 1;
        }
    }
    assert!(links_seen > 60, "{links_seen} links");
}

#[test]
fn each_limit_has_its_consequence() {
    let named: Vec<String> = rows("limits.md")
        .iter()
        .filter(|row| row.len() == 2)
        .flat_map(|row| quoted(&row[0]).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    for limit in LimitKey::ALL {
        assert!(named.iter().any(|name| name == limit.as_str()), "limits.md lacks `{limit}`");
    }
}

#[test]
fn each_outcome_is_in_the_table() {
    let named: Vec<String> = rows("limits.md")
        .iter()
        .flat_map(|row| quoted(&row[0]).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    // No part of the host decides these two yet.
    let later = [Outcome::Unauthorized, Outcome::Forbidden];
    for outcome in Outcome::ALL.iter().filter(|outcome| !later.contains(outcome)) {
        assert!(named.iter().any(|name| name == outcome.as_str()), "limits.md lacks `{outcome}`");
    }
}

#[test]
fn paths_on_pages_exist() {
    let mut paths = 0;
    for (page, text) in all_pages() {
        let prose: String = text.split("```").step_by(2).collect();
        for path in quoted(&prose) {
            let is_path = ["host/", "guest-sdk/", "benches/", "docs/"]
                .iter()
                .any(|top| path.starts_with(top));
            if is_path && !path.contains([' ', '*', '<']) {
                assert!(root().join(path).exists(), "{}: there is no {path}", page.display());
                paths += 1;
            }
        }
    }
    assert!(paths > 20, "{paths} paths");
}
