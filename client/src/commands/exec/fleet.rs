//! `exec` on one of many hosts.

use std::fs::File;
use std::time::Instant;

use tokio::task::spawn_blocking;

use super::input::Input;
use super::sink::Sink;
use super::{Context, Failed, Reader, command, conclude, local};
use crate::cli::{ExecPlan, Input as From};
use crate::client::{Control, Streams};
use crate::exit::Exit;
use crate::output::{Stream, Summary};

/// Runs a command, whose output is that of this host, and gives its status.
pub(in crate::commands) async fn run(context: &Context, plan: &ExecPlan) -> Result<u8, Failed> {
    let begun = Instant::now();
    let command = command(context, plan, None)?;
    let stdin = input(context, &plan.input)?;
    let sink = |stream| {
        let output = context.output.clone();
        Sink::new(move |bytes| {
            output.passed(bytes.len());
            output.piece(stream, bytes)
        })
    };
    let (mut stdout, mut stderr) = (sink(Stream::Stdout), sink(Stream::Stderr));
    let mut server = context.server().await?;
    context.output.start(server.client.run())?;
    let streams = Streams { stdin, stdout: &mut stdout, stderr: &mut stderr };
    let control = Control { asked: context.output.once(), ..Control::default() };
    let finished = server.client.exec(&command, streams, control).await;
    if stdout.is_broken() || stderr.is_broken() {
        return Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into());
    }
    let bytes = context.output.record().summary.bytes;
    let summary = Summary { bytes, elapsed: begun.elapsed(), ..Summary::default() };
    let (context, name) = (context.clone(), server.name.clone());
    // On a thread of its own, as its reader may stand still.
    let said = spawn_blocking(move || {
        context.output.pieces_end()?;
        context.output.command_summary(&summary, 0)?;
        conclude(&context, &name, finished?)
    });
    let code = said.await.map_err(|error| Failed::new(Exit::Failure, format!("internal error: {error}")))?;
    server.client.close().await;
    code
}

/// What the command is to read. Of standard input each host gets all.
fn input(context: &Context, from: &From) -> Result<Option<Reader>, Failed> {
    let stdin = context.member.as_ref().and_then(|member| member.stdin.as_ref());
    let opened = match (from, stdin) {
        (From::File(path), _) => {
            File::open(path).map_err(|error| local(&format!("read {}", path.display()), &error))?
        }
        (From::Stdin, Some(file)) => file.reopen().map_err(|error| local("read standard input", &error))?,
        _ => return Ok(None),
    };
    let input = Input::new(&opened).map_err(|error| local("read the input", &error))?;
    Ok(Some(Box::new(input)))
}
