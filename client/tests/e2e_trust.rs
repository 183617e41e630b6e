//! A person before a terminal who is asked about the keys of servers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::fs;

use common::{Fleet, Terminal};

const QUESTION: &str = "Trust it? [y/N]";

/// Where this stands on the screen for the first time.
fn row(screen: &[String], text: &str) -> Option<usize> {
    screen.iter().position(|row| row.contains(text))
}

/// Answers the first question about all hosts, and gives the screen with the second.
fn answered(fleet: &Fleet, answer: &str, word: &str) -> (Terminal, Vec<String>) {
    let mut terminal = Terminal::start(&fleet.command(["trust", "-g", "all"]));
    terminal.sees(QUESTION);
    terminal.press(format!("{answer}\r"));
    terminal.until("the second question and the first answer", |screen| {
        let questions = screen.iter().filter(|row| row.contains(QUESTION)).count();
        questions == 2 && row(screen, word).is_some()
    });
    let screen = terminal.screen();
    (terminal, screen)
}

#[test]
fn what_an_answer_did_is_said_before_the_next_question() {
    let fleet = Fleet::in_process(2);
    let (mut terminal, screen) = answered(&fleet, "y", "is trusted");
    let first = row(&screen, "web").and_then(|row| screen[row].get(..6)).unwrap().to_owned();
    let said = row(&screen, "is trusted").unwrap();
    let second = screen.iter().rposition(|row| row.contains(" presents")).unwrap();
    assert!(said < second, "{screen:#?}");
    assert!(screen[said].starts_with(&format!("{first}: the key SHA256:")), "{screen:#?}");
    assert!(screen.last().unwrap().ends_with(QUESTION), "nothing stands behind the question: {screen:#?}");
    terminal.press("y\r");
    assert_eq!(terminal.ends().code(), Some(0));
    let known = fs::read_to_string(fleet.home().join(".config/ftclient/known_hosts")).unwrap();
    assert_eq!(known.matches("how=trust").count(), 2, "{known}");
}

#[test]
fn a_no_is_taken_as_one_and_said_before_the_next_question() {
    let fleet = Fleet::in_process(2);
    let (mut terminal, screen) = answered(&fleet, "n", "was not confirmed");
    let said = row(&screen, "was not confirmed; nothing was stored").unwrap();
    let second = screen.iter().rposition(|row| row.contains(" presents")).unwrap();
    assert!(said < second, "{screen:#?}");
    assert!(screen.last().unwrap().ends_with(QUESTION), "{screen:#?}");
    terminal.press("n\r");
    terminal.until("both answers", |screen| {
        screen.iter().filter(|row| row.contains("nothing was stored")).count() >= 2
    });
    let ended = terminal.ends();
    assert!(!terminal.screen().iter().any(|row| row.contains("without a terminal")));
    assert_eq!(ended.code(), Some(3));
    assert!(!fleet.home().join(".config/ftclient/known_hosts").exists());
}
