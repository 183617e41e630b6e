//! `~.` at the beginning of a line leaves a session that hangs, as in ssh(1).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::sync::CancellationToken;

/// Input from a keyboard, without what is meant for this end.
pub(crate) struct Escapes<R> {
    input: R,
    keys: Keys,
    /// Passed, and not yet read.
    passed: Vec<u8>,
    left: CancellationToken,
}

impl<R> Escapes<R> {
    /// Reads this input; `left` is cancelled at `~.`.
    pub(crate) fn new(input: R, left: CancellationToken) -> Self {
        Self { input, keys: Keys::default(), passed: Vec::new(), left }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Escapes<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.passed.is_empty() {
            let mut bytes = [0; 4096];
            let mut read = ReadBuf::new(bytes.get_mut(..into.remaining().min(4096)).unwrap_or_default());
            ready!(Pin::new(&mut this.input).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            if this.keys.pass(read.filled(), &mut this.passed) {
                this.left.cancel();
                return Poll::Pending;
            }
        }
        // With a '~' that was held back these may be one more than there is room for.
        let most = this.passed.len().min(into.remaining());
        into.put_slice(this.passed.get(..most).unwrap_or_default());
        this.passed.drain(..most);
        Poll::Ready(Ok(()))
    }
}

/// Where in a line the keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Keys {
    /// Nothing was typed in it.
    #[default]
    Beginning,
    /// A `~` was, which is held back.
    Tilde,
    /// Something was.
    Inside,
}

impl Keys {
    /// Appends what is meant for the other end. True at `~.`.
    fn pass(&mut self, typed: &[u8], passed: &mut Vec<u8>) -> bool {
        for &key in typed {
            match (*self, key) {
                (Keys::Tilde, b'.') => return true,
                (Keys::Beginning, b'~') => {
                    *self = Keys::Tilde;
                    continue;
                }
                (Keys::Tilde, b'~') => {}
                (Keys::Tilde, _) => passed.push(b'~'),
                _ => {}
            }
            passed.push(key);
            *self = if matches!(key, b'\r' | b'\n') { Keys::Beginning } else { Keys::Inside };
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    /// What passes of these reads, and whether one of them leaves.
    fn typed(reads: &[&str]) -> (String, bool) {
        let (mut keys, mut passed) = (Keys::default(), Vec::new());
        let left = reads.iter().any(|read| keys.pass(read.as_bytes(), &mut passed));
        (String::from_utf8(passed).unwrap(), left)
    }

    #[test]
    fn only_a_tilde_and_a_dot_at_the_beginning_of_a_line_leave() {
        assert_eq!(typed(&["~."]), (String::new(), true));
        assert_eq!(typed(&["ls\r", "~", "."]), ("ls\r".into(), true));
        assert_eq!(typed(&["\r~.x"]), ("\r".into(), true));
        for (typed_, passed) in
            [("a~.", "a~."), ("~~.", "~."), ("~/x", "~/x"), ("~\r~x", "~\r~x"), ("cd ~\r", "cd ~\r")]
        {
            assert_eq!(typed(&[typed_]), (passed.into(), false), "{typed_}");
        }
    }

    #[tokio::test]
    async fn a_short_buffer_loses_nothing() {
        let input = Escapes::new(&b"~a~b\n~~\n~c"[..], CancellationToken::new());
        let (mut all, mut input) = (Vec::new(), input);
        loop {
            let mut two = [0; 2];
            match input.read(&mut two).await.unwrap() {
                0 => break,
                n => all.extend_from_slice(&two[..n]),
            }
        }
        assert_eq!(all, b"~a~b\n~\n~c");
    }
}
