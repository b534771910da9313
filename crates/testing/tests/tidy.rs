//! Small rules that keep the house in order, checked on every file.

use std::fs;

use tidemill_testing::house;

#[test]
fn every_source_file_opens_with_what_it_is() {
    for path in house::files("crates", ".rs") {
        let text = fs::read_to_string(&path).unwrap();
        // `foo/tests.rs` needs no paragraph of its own: it is the other half of `foo.rs`.
        let is_source = path.components().any(|part| part.as_os_str() == "src") && !path.ends_with("tests.rs");
        assert!(!is_source || text.starts_with("//!"), "{} does not open with a //! paragraph", path.display());
    }
}

#[test]
fn source_files_stay_readable() {
    const LINES_MAX: usize = 1_000;
    for path in house::files("crates", ".rs") {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines: give each of its stories a file", path.display());
    }
}

#[test]
fn every_command_in_bin_names_a_tool_of_the_binary() {
    let tools = fs::read_to_string(house::root().join("crates/tidemill/src/tools.rs")).unwrap();
    for path in house::files("bin", "") {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "tidemill" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let tool = name.trim_end_matches(".sh");
        assert!(text.contains(&format!("/tidemill\" {tool} ")), "bin/{name} does not call the tool {tool}");
        assert!(tools.contains(&format!("\"{tool}\"")), "bin/{name} calls {tool}, which the binary does not know");
    }
}

#[test]
fn the_changelog_has_an_unreleased_section() {
    let text = fs::read_to_string(house::root().join("CHANGELOG.md")).unwrap();
    assert!(text.contains("## Unreleased"), "CHANGELOG.md lost its Unreleased section");
}

#[test]
fn the_root_holds_only_what_the_readme_names() {
    let readme = fs::read_to_string(house::root().join("README.md")).unwrap();
    for entry in fs::read_dir(house::root()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_made_by_tools = name.starts_with('.')
            || ["README.md", "target", "data", "dist", "Cargo.lock", "clippy.toml", "rustfmt.toml"]
                .contains(&name.as_str());
        assert!(
            is_made_by_tools || readme.contains(&name),
            "{name} stands in the root and the README does not say why"
        );
    }
}
