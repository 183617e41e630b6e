//! What patterns mean, and what a hostile one costs.

use proptest::prelude::*;

use super::*;
use crate::{RemotePath, Status};

fn rule(text: &str) -> Rule {
    let (sign, pattern) = text.split_at(1);
    Rule { include: sign == "+", pattern: pattern.into() }
}

fn filter(rules: &[&str]) -> Filter {
    Filter::new(rules.iter().map(|text| rule(text)).collect()).unwrap()
}

/// Whether a path is excluded by one pattern; a `/` at its end says that it is a directory.
fn out(pattern: &str, path: &str) -> bool {
    let (path, is_dir) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
    let filter = filter(&[&format!("-{pattern}")]);
    filter.excludes(&RemotePath::from_wire(path.as_bytes()).unwrap(), is_dir)
}

#[test]
fn patterns_mean_what_they_mean_in_gitignore() {
    for (pattern, fits, does_not) in [
        // Without a slash: at any depth, by name alone.
        ("a.o", &["a.o", "x/a.o", "x/y/a.o", "a.o/"][..], &["a.oo", "xa.o", "a.o/x"][..]),
        ("*.o", &["a.o", ".o", "x/.a.o"], &["a.c", "x.o/a"]),
        ("*", &["a", ".a", "x/y"], &[]),
        // A slash at the beginning or in the middle: from the root on.
        ("/a", &["a", "a/"], &["x/a"]),
        ("x/a", &["x/a"], &["y/x/a", "a", "x", "x/a/b"]),
        ("x/*.o", &["x/a.o"], &["x/y/a.o", "a.o"]),
        ("*/a", &["x/a"], &["a", "x/y/a"]),
        // A slash at the end: directories.
        ("build/", &["build/", "x/build/"], &["build", "x/build"]),
        ("/build/", &["build/"], &["x/build/", "build"]),
        ("x/build/", &["x/build/"], &["y/x/build/"]),
        // Two asterisks: any number of directories.
        ("**/a", &["a", "x/a", "x/y/a"], &["x/a/b", "xa"]),
        ("**/x/a", &["x/a", "y/x/a"], &["x/y/a"]),
        ("x/**", &["x/a", "x/y/a"], &["x", "x/", "y/x/a"]),
        ("x/**/a", &["x/a", "x/y/a", "x/y/z/a"], &["x/b", "a", "y/x/a"]),
        ("x/**/y/**/a", &["x/y/a", "x/1/y/2/3/a"], &["x/a", "x/y"]),
        ("/**", &["a", "x/y"], &[]),
        ("**", &["a", "x/y"], &[]),
        ("**/", &["a/", "x/y/"], &["a", "x/y"]),
        // Elsewhere they are like one.
        ("a**b", &["ab", "axxb", "x/ab"], &["a/b", "axb/c"]),
        ("x/a**", &["x/a", "x/ab"], &["x/a/b"]),
        // What a wildcard stands for.
        ("?", &["a", "ü", "x/b"], &["ab"]),
        ("[ab]", &["a", "b"], &["c", "ab"]),
        ("[!ab]", &["c", "!"], &["a"]),
        ("[^ab]", &["c", "^"], &["b"]),
        ("[]x]", &["]", "x"], &["a"]),
        ("[a-c]-[x-]", &["b-x", "c--"], &["d-x", "a-y"]),
        ("[[:digit:]_]", &["7", "_"], &["a", ":"]),
        ("[![:alpha:]]", &["7"], &["a"]),
        (r"[\]]", &["]"], &["\\"]),
        (r"[a\-c]", &["a", "-", "c"], &["b"]),
        // Backslashes.
        (r"\*", &["*"], &["a"]),
        (r"\a", &["a"], &[r"\a"]),
        (r"a\\b", &[r"a\b"], &["ab"]),
        (r"x\/a", &["x/a"], &["y/x/a"]),
        (r"\!x", &["!x"], &["x"]),
        ("!x", &["!x"], &["x"]),
        ("#x", &["#x"], &["x"]),
        ("a ", &["a "], &["a"]),
        ("{a,b}", &["{a,b}"], &["a", "b"]),
    ] {
        for path in fits {
            assert!(out(pattern, path), "{pattern} should fit {path}");
        }
        for path in does_not {
            assert!(!out(pattern, path), "{pattern} should not fit {path}");
        }
    }
}

#[test]
fn the_first_rule_that_fits_decides() {
    let rules = filter(&["+keep.o", "-*.o", "+*.o", "-/tmp/"]);
    let excludes =
        |path: &str, is_dir| rules.excludes(&RemotePath::from_wire(path.as_bytes()).unwrap(), is_dir);
    assert!(!excludes("x/keep.o", false));
    assert!(excludes("x/a.o", false));
    assert!(!excludes("a.c", false), "what fits no rule is part of the tree");
    assert!(excludes("tmp", true) && !excludes("tmp", false) && !excludes("tmp/a", false));
    assert!(
        !excludes("", true) && !filter(&["-*"]).excludes(&RemotePath::root(), true),
        "the root always is"
    );
    assert!(Filter::default().is_empty() && !rules.is_empty());
}

#[test]
fn names_that_are_not_utf_8_fit_by_their_bytes() {
    let path = RemotePath::from_wire(b"x/\xff\xfe\n").unwrap();
    for (pattern, fits) in [
        (&b"*"[..], true),
        (b"\xff*", true),
        (b"\xff\xfe\n", true),
        (b"x/???", true),
        (b"[\xf0-\xff]\xfe?", true),
        (b"[!\xff]*", false),
        (b"\xfe*", false),
        (b"??", false),
    ] {
        let filter = Filter::new(vec![Rule { include: false, pattern: pattern.to_vec() }]).unwrap();
        assert_eq!(filter.excludes(&path, false), fits, "{}", pattern.escape_ascii());
    }
}

#[test]
fn what_cannot_be_understood_is_named() {
    for pattern in ["", "/", "//", "a[b", "x/[", "[[:nope:]]", "a\\", "a\0b", "[a/b]"] {
        let error = Filter::new(vec![Rule { include: false, pattern: pattern.into() }]).unwrap_err();
        assert_eq!(error.status(), Status::Invalid, "{pattern:?}");
        assert!(error.to_string().contains(&pattern.replace('\0', "\\x00")), "{error}");
    }
}

#[test]
fn rules_survive_the_wire_and_nothing_else_does() {
    let rules = filter(&["-a", "+/b/**", "-\u{fc}"]);
    let wire = rules.to_wire();
    assert_eq!(wire, b"-a\0+/b/**\0-\xc3\xbc\0");
    assert_eq!(Filter::from_wire(&wire).unwrap().to_wire(), wire);
    assert!(Filter::from_wire(b"").unwrap().is_empty());
    for bad in [&b"a\0"[..], b"-a", b"-\0", b"\0", b"-a\0\0", b"-a\0-[\0"] {
        assert_eq!(Filter::from_wire(bad).unwrap_err().status(), Status::Invalid, "{}", bad.escape_ascii());
    }
    assert!(Filter::from_wire(&b"-a\0".repeat(MAX_RULES)).is_ok());
    let limited = |wire: &[u8]| assert_eq!(Filter::from_wire(wire).unwrap_err().status(), Status::Limit);
    limited(&b"-a\0".repeat(MAX_RULES + 1));
    let long = [b"-".to_vec(), vec![b'a'; MAX_FILTER - 2], vec![0]].concat();
    assert!(Filter::from_wire(&long).is_ok());
    limited(&[b"-".to_vec(), vec![b'a'; MAX_FILTER - 1], vec![0]].concat());
}

/// Each of these takes for ever with a matcher that tries every way to divide the name among the asterisks.
#[test]
fn a_hostile_pattern_costs_little() {
    let deep = vec!["a"; 1000].join("/");
    let wide = "a".repeat(255);
    let paths = [deep.clone(), wide.clone(), vec![wide.as_str(); 15].join("/")];
    for pattern in [
        "*a".repeat(2000) + "b",
        "**/a/".repeat(2000) + "b",
        "**/*a*a*a*b/".repeat(1000) + "b",
        "*/".repeat(1000) + "**/b",
        "[a-a]*".repeat(1000) + "b",
        "?*".repeat(127) + "b",
    ] {
        for path in &paths {
            assert!(!out(&pattern, path));
        }
    }
}

#[test]
fn paths_are_sorted_as_a_walk_meets_them() {
    let paths = ["b", "a-b", "a/z", "a", "a/b/c", "a/b", "a.c", "a/z"];
    let names = Names::new(paths.map(|path| RemotePath::from_wire(path.as_bytes()).unwrap()).to_vec());
    let sorted: Vec<&[u8]> = names.paths().iter().map(RemotePath::as_bytes).collect();
    assert_eq!(sorted, [&b"a"[..], b"a/b", b"a/b/c", b"a/z", b"a-b", b"a.c", b"b"]);
    assert_eq!(Names::from_wire(&names.to_wire()).unwrap().paths(), names.paths());
    assert!(Names::from_wire(b"").unwrap().paths().is_empty());
    for bad in [&b"../a\0"[..], b"a", b"/a\0", b"a\0b"] {
        assert_eq!(Names::from_wire(bad).unwrap_err().status(), Status::Invalid);
    }
    assert_eq!(Names::from_wire(&b"a\0".repeat(MAX_ENTRIES + 1)).unwrap_err().status(), Status::Limit);
    let long = [vec![b'a'; 255], vec![0]].concat().repeat(MAX_NAMES_BYTES / 256 + 1);
    assert_eq!(Names::from_wire(&long).unwrap_err().status(), Status::Limit);
}

proptest! {
    #[test]
    fn whatever_a_peer_sends_as_rules_or_paths_comes_back_or_is_refused(
        bytes in proptest::collection::vec(prop_oneof![Just(0), Just(b'-'), Just(b'/'), Just(b'*'), any::<u8>()], 0..64),
        path in "[a-c/]{1,12}",
    ) {
        if let Ok(filter) = Filter::from_wire(&bytes) {
            prop_assert_eq!(filter.to_wire(), &bytes[..]);
            if let Ok(path) = RemotePath::from_typed(path.as_bytes()) {
                // Whatever it leaves out as a file it leaves out as a directory, unless a rule is for directories only.
                let only_dirs = bytes.windows(2).any(|pair| pair == b"/\0");
                prop_assert!(only_dirs || filter.excludes(&path, true) == filter.excludes(&path, false));
            }
        }
        if let Ok(names) = Names::from_wire(&bytes) {
            let again = Names::from_wire(&names.to_wire()).unwrap();
            prop_assert_eq!(again.paths(), names.paths());
        }
    }
}
