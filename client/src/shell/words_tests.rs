use std::os::unix::ffi::OsStrExt;

use proptest::prelude::*;

use super::*;

fn plain(line: &str) -> Vec<String> {
    split(line.as_bytes()).unwrap().iter().map(|word| word.plain.to_str().unwrap().to_owned()).collect()
}

#[test]
fn words_are_split_as_a_shell_does() {
    for (line, words) in [
        ("", vec![]),
        ("  get  a\tb ", vec!["get", "a", "b"]),
        (r#"put 'my file' "a\"b" c\ d '' x"y z"'w'"#, vec!["put", "my file", "a\"b", "c d", "", "xy zw"]),
        (r#"exec echo $HOME *;ls | "\n" '\n'"#, vec!["exec", "echo", "$HOME", "*;ls", "|", r"\n", r"\n"]),
        (r"rm $'a\nb\'\x41\101\\' $x", vec!["rm", "a\nb'AA\\", "$x"]),
    ] {
        assert_eq!(plain(line), words, "{line}");
    }
    for line in ["'a", "\"a", "a\\", "$'a", "$'\\", "\"a\\"] {
        assert!(split(line.as_bytes()).is_err(), "{line}");
    }
}

#[test]
fn quotes_protect_from_patterns_and_from_the_tilde() {
    let words = split(br"* '*' \* a\b[1] ~/x '~/x' \~").unwrap();
    let patterns: Vec<&[u8]> = words.iter().map(|word| word.pattern.as_slice()).collect();
    assert_eq!(patterns, [&b"*"[..], br"\*", br"\*", b"ab[1]", b"~/x", b"~/x", b"~"]);
    let tildes: Vec<bool> = words.iter().map(|word| word.tilde).collect();
    assert_eq!(tildes, [false, false, false, false, true, false, false]);
}

#[test]
fn the_word_at_the_cursor_knows_its_directory_and_its_quotes() {
    for (line, words, dir, name, start, quote) in [
        ("", 0, "", "", 0, Quote::None),
        ("get ", 1, "", "", 4, Quote::None),
        ("get a", 1, "", "a", 4, Quote::None),
        (r"get my\ dir/fi", 1, "my dir/", "fi", 12, Quote::None),
        ("get 'my dir/fi", 1, "my dir/", "fi", 12, Quote::Single),
        ("get 'my fi", 1, "", "my fi", 4, Quote::None),
        ("get a/'b c", 1, "a/", "b c", 6, Quote::None),
        ("get a ", 2, "", "", 6, Quote::None),
    ] {
        let (before, partial) = unfinished(line.as_bytes());
        assert_eq!(before.len(), words, "{line}");
        assert_eq!(
            (partial.dir.as_slice(), partial.name.as_slice()),
            (dir.as_bytes(), name.as_bytes()),
            "{line}"
        );
        assert_eq!((partial.start, partial.quote), (start, quote), "{line}");
    }
}

proptest! {
    /// Whatever a server calls its files: quoted, it is one printable word that means this name and no pattern.
    #[test]
    fn a_quoted_name_is_read_as_it_is(name in proptest::collection::vec(1u8.., 1..20), with_dir in any::<bool>()) {
        for (before, open) in
            [("", Quote::None), ("'d/", Quote::Single), ("\"d/", Quote::Double), ("$'d/", Quote::Dollar)]
        {
            let before = if open == Quote::None && with_dir { "d/" } else { before };
            let line = format!("{before}{}", quote(&name, open, true));
            prop_assert_eq!(Escaped::from(line.as_str()).to_string(), line.clone());
            let words = split(line.as_bytes()).unwrap();
            prop_assert_eq!(words.len(), 1);
            let expected = if before.is_empty() { name.clone() } else { [b"d/", name.as_slice()].concat() };
            prop_assert_eq!(words[0].plain.as_bytes(), expected.as_slice());
            let special = |bytes: &[u8]| bytes.iter().filter(|byte| glob::is_special(**byte)).count();
            prop_assert_eq!(special(&words[0].pattern), 2 * special(&expected));
        }
    }
}
