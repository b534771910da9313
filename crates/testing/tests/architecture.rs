//! Holds the manifests against the floors table of `docs/ARCHITECTURE.md`: a new edge between crates is a decision, not an accident.

use std::fs;

use tidemill_testing::house;

#[test]
fn every_crate_stands_in_the_floors_table_and_imports_only_what_it_may() {
    let floors = house::floors();
    for (name, imported) in house::edges() {
        let floor = floors.get(&name).unwrap_or_else(|| panic!("crate {name} is not in the floors table"));
        for other in &imported {
            assert!(floor.may_import.contains(other), "{name} imports {other}, which the floors table does not allow");
        }
    }
}

#[test]
fn nobody_imports_a_floor_above_its_own() {
    let floors = house::floors();
    for (name, floor) in &floors {
        for other in &floor.may_import {
            let below = floors.get(other).unwrap_or_else(|| panic!("{name} may import {other}, which is no crate"));
            assert!(
                below.number < floor.number,
                "{name} on floor {} may import {other} on floor {}",
                floor.number,
                below.number
            );
        }
    }
}

#[test]
fn pure_crates_import_no_runtime_and_no_async() {
    for name in ["protocol", "replication", "coordinator"] {
        let manifest = fs::read_to_string(house::root().join("crates").join(name).join("Cargo.toml")).unwrap();
        for forbidden in ["tokio", "runtime.workspace", "socket2", "rustix", "getrandom"] {
            assert!(!manifest.contains(forbidden), "{name} decides and does nothing: it may not import {forbidden}");
        }
    }
}
