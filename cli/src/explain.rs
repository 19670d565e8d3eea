//! `heddle explain`: why a request goes where it goes.

use crate::admin;
use crate::names::{self, Format, fail};
use heddle_proxy::explain;
use std::path::PathBuf;
use std::process::ExitCode;

/// Explain where a request goes, step by step
///
/// The identifier that named it, the rule it met, each delegation with the dentry that fired, the split, and the endpoints.
///
/// By default from a configuration file alone: nothing is sent, and DNS is not asked. With --live a running proxy is
/// asked, which also knows the state and the score of each endpoint.
///
/// Exits 0 when there is an explanation, be it of a request that fails, and 1 otherwise.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("whom").args(["config", "live"]).required(true),
    after_help = "Try: heddle explain -c heddle.yaml -H 'x-stage: v2' http://accounts/"
)]
pub(crate) struct Args {
    /// The request's URL, such as http://accounts/v1?x=1 or accounts/v1
    url: String,
    /// A proxy's configuration file
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Ask the proxy with this admin address, such as 127.0.0.1:9990
    #[arg(long, value_name = "ADMIN")]
    live: Option<String>,
    /// The request's method
    #[arg(
        short = 'X',
        long = "request",
        value_name = "METHOD",
        default_value = "GET"
    )]
    method: String,
    /// A header of the request, 'name: value'; may be repeated
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// Dentries to try behind all others, whatever the listener accepts
    #[arg(long, value_name = "DTAB")]
    dtab: Option<String>,
    /// The listener that the request comes to; the first outbound one unless given
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> ExitCode {
    let answer = match &args.live {
        Some(admin) => live(&args, admin),
        None => offline(&args),
    };
    match answer {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(message) => fail(message),
    }
}

fn request(args: &Args) -> Result<explain::Request, String> {
    let mut request = explain::Request::new(&args.method, &args.url)?;
    for header in &args.headers {
        request.add_header(header)?;
    }
    if let Some(dtab) = &args.dtab {
        request.set_dtab(dtab)?;
    }
    request.listener.clone_from(&args.listener);
    Ok(request)
}

fn offline(args: &Args) -> Result<String, String> {
    let request = request(args)?;
    let file = args
        .config
        .as_deref()
        .ok_or("either -c FILE or --live ADMIN is needed")?;
    let config = names::load(file)?;
    let offline = names::offline(&config);
    let explanation = explain::explain(&config, &offline, &|id| offline.set(id), &request)?;
    Ok(match args.format {
        Format::Text => explanation.to_text(),
        Format::Json => format!("{:#}\n", explanation.to_json()),
    })
}

fn live(args: &Args, admin: &str) -> Result<String, String> {
    // What is wrong with the request is told without asking anybody.
    request(args)?;
    admin::get(admin, &target(args))
}

/// `/explain` with the arguments as its parameters.
fn target(args: &Args) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("url", &args.url)
        .append_pair("method", &args.method);
    for header in &args.headers {
        query.append_pair("header", header);
    }
    for (name, value) in [("dtab", &args.dtab), ("listener", &args.listener)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    query.append_pair(
        "format",
        if args.format == Format::Json {
            "json"
        } else {
            "text"
        },
    );
    format!("/explain?{}", query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn answer(words: &[&str]) -> Result<String, String> {
        let args = Command::try_parse_from([&["explain"], words].concat())
            .unwrap()
            .args;
        match &args.live {
            Some(admin) => live(&args, admin),
            None => offline(&args),
        }
    }

    /// Answers one connection with these bytes; the result is the request's first line.
    fn canned(response: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap();
            stream.write_all(response.as_bytes()).unwrap();
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            head.lines().next().unwrap_or_default().to_owned()
        });
        (address, serving)
    }

    #[test]
    fn a_running_proxy_is_asked_with_all_that_was_given() {
        let (admin, serving) = canned("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhere\n");
        let admin_url = format!("http://{admin}/");
        let words = [
            "http://accounts/x?a=1&b",
            "-X",
            "POST",
            "-H",
            "x-user: a b",
            "-H",
            "x-c: d",
            "--dtab",
            "/svc => /#/static",
            "--listener",
            "in",
            "--format",
            "json",
            "--live",
            &admin_url,
        ];
        assert_eq!(answer(&words).as_deref(), Ok("here\n"));
        assert_eq!(
            serving.join().unwrap(),
            "GET /explain?url=http%3A%2F%2Faccounts%2Fx%3Fa%3D1%26b&method=POST&header=x-user%3A+a+b&header=x-c%3A+d\
             &dtab=%2Fsvc+%3D%3E+%2F%23%2Fstatic&listener=in&format=json HTTP/1.1"
        );
    }

    #[test]
    fn what_goes_wrong_with_a_running_proxy_is_told() {
        let cases = [
            (
                "HTTP/1.1 400 Bad Request\r\ncontent-length: 3\r\n\r\nno\n",
                "answers 400: no",
            ),
            (
                "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
                "has no /explain",
            ),
            ("SSH-2.0-other\r\n", "is not HTTP"),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
                "breaks off",
            ),
        ];
        for (response, reason) in cases {
            let (admin, serving) = canned(response);
            let error = answer(&["accounts", "--live", &admin]).unwrap_err();
            assert!(error.contains(reason), "{response:?}: {error}");
            serving.join().unwrap();
        }
        let error = answer(&["accounts", "--live", "127.0.0.1:0"]).unwrap_err();
        assert!(error.contains("cannot connect to 127.0.0.1:0"), "{error}");
    }

    #[test]
    fn a_file_is_enough() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("heddle.yaml");
        std::fs::write(&file, "discovery: {static: {accounts: [127.0.0.1:9001]}}\n").unwrap();
        let file = file.to_str().unwrap();
        let text = answer(&["-c", file, "http://accounts/x"]).unwrap();
        assert!(
            text.contains("by /svc=>/#/static   bound: /#/static/accounts"),
            "{text}"
        );
        assert!(text.contains("127.0.0.1:9001   weight 1"), "{text}");
        let json = answer(&["-c", file, "accounts", "--format", "json"]).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            json["replicaSets"][0]["endpoints"][0]["address"],
            "127.0.0.1:9001"
        );
        let cases: [(&[&str], &str); 3] = [
            (&["-c", file, "http://"], "is not a URL"),
            (&["-c", file, "a", "-H", "x"], "is not a header"),
            (&["-c", "/nowhere/heddle.yaml", "a"], "has errors"),
        ];
        for (words, reason) in cases {
            let error = answer(words).unwrap_err();
            assert!(error.contains(reason), "{words:?}: {error}");
        }
        assert!(
            Command::try_parse_from(["explain", "a"]).is_err(),
            "a file or a proxy is needed"
        );
    }
}
