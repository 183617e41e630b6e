//! Splits a command line into words without a shell, for `--via` and `--password-command`.

/// Splits at blanks. `'…'` keeps everything as it is; in `"…"` a backslash escapes `"` and `\`; outside
/// quotes it escapes any character. There are no variables, no globs, no `;`, no pipes.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' | '"' => quoted(c, &mut chars, word.get_or_insert_default())?,
            '\\' => {
                let next = chars.next().ok_or("the command ends in a backslash")?;
                word.get_or_insert_default().push(next);
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match words.first().map(String::as_str) {
        None | Some("") => Err("the command is empty".into()),
        Some(_) => Ok(words),
    }
}

fn quoted(quote: char, chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), String> {
    loop {
        match chars.next() {
            None => return Err(format!("the command has a {quote} without its partner")),
            Some(c) if c == quote => return Ok(()),
            Some('\\') if quote == '"' => match chars.next() {
                Some(c @ ('"' | '\\')) => word.push(c),
                Some(c) => word.extend(['\\', c]),
                None => return Err(format!("the command has a {quote} without its partner")),
            },
            Some(c) => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_group_and_nothing_is_expanded() {
        let words =
            split(r#"ssh nas  ftserver stdio --root '/srv/my files' "a\"b" c\ d '' $HOME *;ls"#).unwrap();
        assert_eq!(
            words,
            [
                "ssh",
                "nas",
                "ftserver",
                "stdio",
                "--root",
                "/srv/my files",
                "a\"b",
                "c d",
                "",
                "$HOME",
                "*;ls"
            ]
        );
    }

    #[test]
    fn unfinished_commands_are_refused() {
        for text in ["", "  ", "'a", "\"a", "a\\", "''", "\"a\\"] {
            assert!(split(text).is_err(), "{text}");
        }
    }
}
