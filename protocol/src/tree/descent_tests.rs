use super::*;

fn node(depth: u32, name: &str, kind: u32) -> Node {
    let target = if kind == 3 { b"x".to_vec() } else { Vec::new() };
    Node { depth, name: name.as_bytes().to_vec(), kind, target, ..Node::default() }
}

fn root() -> Node {
    node(0, "", 2)
}

fn follow(nodes: &[Node]) -> Result<Vec<Place>> {
    let mut descent = Descent::default();
    nodes.iter().map(|node| descent.enter(node)).collect()
}

#[test]
fn a_tree_in_order_is_followed_with_its_paths() {
    let nodes = [
        root(),
        node(1, "a", 2),
        node(2, "b", 2),
        node(3, "c", 1),
        node(2, "d", 3),
        node(1, "a.txt", 1),
        node(1, "b", 2),
    ];
    let places = follow(&nodes).unwrap();
    let shown: Vec<_> = places.iter().map(|p| (p.path.to_string(), p.left)).collect();
    let expected = [("/", 0), ("a", 0), ("a/b", 0), ("a/b/c", 0), ("a/d", 1), ("a.txt", 1), ("b", 0)];
    assert_eq!(shown, expected.map(|(path, left)| (path.to_owned(), left)));
}

#[test]
fn whatever_is_out_of_place_is_refused_by_name() {
    let cases: [(&[Node], &str); 18] = [
        (&[node(0, "", 1)], "begins"),
        (&[node(0, "name", 2)], "name"),
        (&[node(1, "early", 1)], "early"),
        (&[root(), root()], "no directory"),
        (&[root(), node(2, "deep", 1)], "deep"),
        (&[root(), node(1, "f", 1), node(2, "beneath", 1)], "beneath"),
        (&[root(), node(1, "l", 3), node(2, "beneath", 1)], "beneath"),
        (&[root(), node(1, "b", 1), node(1, "a", 1)], "out of order"),
        (&[root(), node(1, "same", 1), node(1, "same", 2)], "twice"),
        (&[root(), node(1, "..", 1)], "'..'"),
        (&[root(), node(1, ".", 1)], "'.'"),
        (&[root(), node(1, "", 1)], "empty"),
        (&[root(), node(1, "a/b", 1)], "a/b"),
        (&[root(), node(1, "nul\0", 1)], "NUL"),
        (&[root(), node(1, "special", 4)], "special"),
        (&[root(), Node { mtime_nanos: 1_000_000_000, ..node(1, "late", 1) }], "late"),
        (&[root(), Node { target: Vec::new(), ..node(1, "link", 3) }], "link"),
        (&[root(), Node { target: vec![b'x'; 4096], ..node(1, "link", 3) }], "link"),
    ];
    for (nodes, named) in cases {
        let error = follow(nodes).unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn a_directory_with_too_many_entries_is_refused() {
    let mut descent = Descent::default();
    descent.enter(&root()).unwrap();
    for number in 0..MAX_ENTRIES {
        descent.enter(&node(1, &format!("{number:07}"), 1)).unwrap();
    }
    assert!(descent.enter(&node(1, "one-more", 1)).unwrap_err().to_string().contains("entries"));
}
