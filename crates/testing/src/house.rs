//! The repository as data: its manifests' edges, its source files, the floors table of `docs/ARCHITECTURE.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Root of the checkout this test was built from.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the checkout is there")
}

/// Every file below `folder` (relative to the root) whose name ends in `ending`, sorted; build output and dotted folders are left out.
#[must_use]
pub fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&root().join(folder), ending, &mut found);
    found.sort();
    found
}

fn collect(directory: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || name == "target" || name == "data" || name == "node_modules" {
            continue;
        }
        if path.is_dir() {
            collect(&path, ending, found);
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

/// One row of the floors table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Floor {
    /// 1 is the lowest.
    pub number: u32,
    /// Crates of the workspace that this one may import.
    pub may_import: BTreeSet<String>,
}

/// The floors table of `docs/ARCHITECTURE.md`: rows of `| floor | crate | may import | ...`.
#[must_use]
pub fn floors() -> BTreeMap<String, Floor> {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("docs/ARCHITECTURE.md is there");
    let mut floors = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, number, name, may_import, ..] = cells[..] else { continue };
        let Ok(number) = number.parse() else { continue };
        let may_import = may_import.split_whitespace().filter(|word| *word != "–").map(str::to_owned).collect();
        floors.insert(name.to_owned(), Floor { number, may_import });
    }
    floors
}

/// The edges between our crates as the manifests have them: crate, and what its `[dependencies]` name of the workspace's own crates.
#[must_use]
pub fn edges() -> BTreeMap<String, BTreeSet<String>> {
    let crates: BTreeSet<String> = fs::read_dir(root().join("crates"))
        .expect("crates/ is there")
        .flatten()
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let mut edges = BTreeMap::new();
    for name in &crates {
        let path = root().join("crates").join(name).join("Cargo.toml");
        let manifest = fs::read_to_string(path).expect("each crate has a manifest");
        let mut section = String::new();
        let mut imported = BTreeSet::new();
        for line in manifest.lines() {
            if let Some(title) = line.strip_prefix('[') {
                section = title.trim_end_matches(']').to_owned();
            } else if section.ends_with("dependencies") {
                let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
                if crates.contains(dependency) {
                    imported.insert(dependency.to_owned());
                }
            }
        }
        edges.insert(name.clone(), imported);
    }
    edges
}
