//! Makes the corpus from the golden traces: of `structure` and `show`, and of `buffer`. The golden traces themselves are that of
//! `reader`.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::Path;

use rrtest_engine::trace::event::Event;
use rrtest_engine::trace::{FORMAT, Source};

/// Logs of the buffer that are longer are left out.
const LOG: usize = 512;

fn main() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let golden = fs::read_dir(here.join(format!("../tests/golden/{FORMAT}"))).expect("golden traces");
    for trace in golden.map(|entry| entry.expect("a trace").path()) {
        let bytes = fs::read(&trace).expect("a trace");
        put(&here.join("corpus/structure"), &rrtest_fuzz::take_apart(&bytes));
        let trace = rrtest_fuzz::open(&bytes).expect("a trace of this format");
        for event in trace.events().map_while(Result::ok) {
            if let Event::Buffered(log) = event
                && log.len() <= LOG
            {
                put(&here.join("corpus/buffer"), &log);
            }
        }
    }
}

/// Writes a file that is named after its contents.
fn put(directory: &Path, bytes: &[u8]) {
    fs::create_dir_all(directory).expect("a directory");
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    fs::write(directory.join(format!("{:016x}", hasher.finish())), bytes).expect("a file");
}
