//! Checks that each folder uses only the folders that docs/architecture.md allows.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// The modules that each module of `src` names.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let src = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut folders = vec![src.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inside = path.strip_prefix(src).unwrap().to_str().unwrap();
            let module = inside.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
            found.entry(module).or_default().extend(named(&fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

/// The modules that a file names by `crate::`, in `use` lines or elsewhere. Comments and tests do not count.
fn named(source: &str) -> BTreeSet<String> {
    let code: String = source
        .split("#[cfg(test)]")
        .next()
        .unwrap()
        .lines()
        .map(|line| line.split("//").next().unwrap().to_owned() + "\n")
        .collect();
    let mut named = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let Some(list) = rest.strip_prefix('{') else {
            named.insert(word(rest));
            continue;
        };
        // Take the first word after each comma of the outermost braces.
        let (mut depth, mut begins) = (1, true);
        for (at, letter) in list.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => begins = true,
                _ if depth == 1 && begins && letter.is_alphabetic() => {
                    named.insert(word(&list[at..]));
                    begins = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    named
}

fn word(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

/// The table in docs/architecture.md, by folder: the folders that it may use.
fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/architecture.md")).unwrap();
    let section = page.split("## Which folder may use which").nth(1).unwrap().split("\n## ").next().unwrap();
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        let used: BTreeSet<String> = names(cells[2]).into_iter().collect();
        names(cells[1]).into_iter().map(move |folder| (folder, used.clone()))
    })
    .collect()
}

#[test]
fn the_arrows_between_folders_run_one_way() {
    let (arrows, allowed) = (arrows(), allowed());
    assert!(allowed.len() > 10 && arrows.len() > 10);
    for (folder, used) in &arrows {
        let Some(may_use) = allowed.get(folder) else { continue };
        for other in used.iter().filter(|other| allowed.contains_key(*other) && *other != folder) {
            assert!(may_use.contains(other), "src/{folder} uses src/{other}: docs/architecture.md does not allow that");
        }
    }
    for (folder, used) in &allowed {
        for other in used {
            assert!(
                !allowed.get(other).is_some_and(|back| back.contains(folder)),
                "docs/architecture.md lets {folder} and {other} use each other"
            );
            assert!(
                arrows.get(folder).is_some_and(|used| used.contains(other)),
                "docs/architecture.md lets {folder} use {other}, and it does not"
            );
        }
    }
}

#[test]
fn the_crate_of_connections_knows_nothing_of_the_server() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/poll-connections/Cargo.toml");
    assert!(!fs::read_to_string(manifest).unwrap().contains("discussions"));
}

#[test]
fn the_modules_that_a_file_names_are_found() {
    let source = "use crate::{\n    auth::{self, Viewer},\n    db::Db,\n    ids,\n};\nuse crate::events::Change;\n// crate::no\nfn f() { crate::page::g() }\n#[cfg(test)]\nuse crate::tests;";
    let expected = ["auth", "db", "events", "ids", "page"].map(str::to_owned);
    assert_eq!(named(source), BTreeSet::from(expected));
}
