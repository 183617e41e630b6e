//! What every control message has in common: a struct, a kind, a strict decoder, an encoder.

macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $tag:literal $field:ident: $ty:ty = $kind:ident;)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, PartialEq, Eq, ::prost::Message)]
            pub struct $name { $($(#[$fdoc])* #[prost($kind, tag = $tag)] pub $field: $ty,)* }
        )*

        /// Any message of the protocol.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Message {
            $(#[doc = concat!("See [`", stringify!($name), "`].")] $name($name),)*
            /// Sign of life.
            Alive,
            /// Asks the other side to end the operation.
            Cancel,
            /// The command of an EXEC runs.
            Started,
            /// Raw block digests, a whole number of them.
            Have(Bytes),
            /// Raw bytes of one block.
            Data(Bytes),
            /// Raw bytes of the files of the PIECEs before it.
            Pack(Bytes),
            /// Raw paths, each followed by a zero byte; empty: no more.
            Names(Bytes),
            /// Raw bytes for the command's standard input; empty: its end.
            Stdin(Bytes),
            /// Raw bytes of the command's standard output, or of its terminal.
            Stdout(Bytes),
            /// Raw bytes of the command's standard error.
            Stderr(Bytes),
        }

        $(impl From<$name> for Message { fn from(message: $name) -> Self { Message::$name(message) } })*

        impl Message {
            /// Kind of this message.
            pub fn kind(&self) -> Kind {
                match self {
                    $(Message::$name(_) => Kind::$name,)*
                    Message::Alive => Kind::Alive,
                    Message::Cancel => Kind::Cancel,
                    Message::Started => Kind::Started,
                    Message::Have(_) => Kind::Have,
                    Message::Data(_) => Kind::Data,
                    Message::Pack(_) => Kind::Pack,
                    Message::Names(_) => Kind::Names,
                    Message::Stdin(_) => Kind::Stdin,
                    Message::Stdout(_) => Kind::Stdout,
                    Message::Stderr(_) => Kind::Stderr,
                }
            }

            /// Decodes one body; everything that is not exactly this message is refused.
            pub fn decode(kind: Kind, body: Bytes) -> Result<Self> {
                match kind {
                    $(Kind::$name => strict::<$name>(kind, body).map(Message::$name),)*
                    Kind::Alive => Ok(Message::Alive),
                    Kind::Cancel => Ok(Message::Cancel),
                    Kind::Started => Ok(Message::Started),
                    Kind::Have => Ok(Message::Have(body)),
                    Kind::Data => Ok(Message::Data(body)),
                    Kind::Pack => Ok(Message::Pack(body)),
                    Kind::Names => Ok(Message::Names(body)),
                    Kind::Stdin => Ok(Message::Stdin(body)),
                    Kind::Stdout => Ok(Message::Stdout(body)),
                    Kind::Stderr => Ok(Message::Stderr(body)),
                }
            }

            /// Appends size header and body.
            pub fn encode(&self, op: u32, out: &mut BytesMut) {
                let body_len = match self {
                    $(Message::$name(m) => m.encoded_len(),)*
                    Message::Alive | Message::Cancel | Message::Started => 0,
                    Message::Have(body)
                    | Message::Data(body)
                    | Message::Pack(body)
                    | Message::Names(body)
                    | Message::Stdin(body)
                    | Message::Stdout(body)
                    | Message::Stderr(body) => body.len(),
                };
                out.reserve(HEADER_LEN + body_len);
                Header { len: body_len as u32, kind: self.kind(), op }.encode(out);
                match self {
                    $(Message::$name(m) => m.encode_raw(out),)*
                    Message::Alive | Message::Cancel | Message::Started => {}
                    Message::Have(body)
                    | Message::Data(body)
                    | Message::Pack(body)
                    | Message::Names(body)
                    | Message::Stdin(body)
                    | Message::Stdout(body)
                    | Message::Stderr(body) => out.extend_from_slice(body),
                }
            }
        }
    };
}

pub(super) use messages;
