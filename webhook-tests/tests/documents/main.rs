//! What the documents say is so: links lead somewhere, blocks can be used as they are, every name of the code that a user
//! sees is explained, and every name and text that the documents quote is in the code. No cluster is needed.

mod blocks;
mod command_line;
mod links;
mod markdown;
mod names;
mod reference;
mod source;
mod texts;
