//! Completions and the manual page, made of the definitions that the parser uses.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use super::{CommandError, print};
use crate::cli::Cli;

/// Prints completions for a shell.
pub fn completions(shell: Shell) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ftserver", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Prints the manual page, all commands on one page.
pub fn man() -> Result<(), CommandError> {
    let mut command = Cli::command();
    command.build();
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    page.extend(body(&command)?);
    for sub in command.get_subcommands() {
        section(sub, &mut page)?;
    }
    print(&String::from_utf8_lossy(&page))
}

/// Adds a section for a command, then those of its subcommands.
fn section(command: &clap::Command, page: &mut Vec<u8>) -> io::Result<()> {
    if command.get_name() == "help" {
        return Ok(());
    }
    let name = command.get_bin_name().unwrap_or(command.get_name());
    writeln!(page, ".SH {}", name.to_uppercase())?;
    for line in String::from_utf8_lossy(&body(command)?).lines() {
        // What is a section of a page of its own becomes a part of this section.
        writeln!(
            page,
            "{}",
            line.strip_prefix(".SH ").map_or(line.to_owned(), |title| format!(".SS {title}"))
        )?;
    }
    command.get_subcommands().try_for_each(|sub| section(sub, page))
}

/// Synopsis, description, options and examples of a command.
fn body(command: &clap::Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone());
    let mut text = Vec::new();
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if let Some(notes) = command.get_after_help() {
        // Set as it is, because examples must not be filled; groff(7) on escapes.
        writeln!(text, ".SH NOTES\n.nf")?;
        for line in notes.to_string().lines() {
            writeln!(text, "\\&{}", line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq"))?;
        }
        writeln!(text, ".fi")?;
    }
    Ok(text)
}
