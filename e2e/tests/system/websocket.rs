//! WebSocket (RFC 6455) through the proxy.

use crate::support::{NAME, in_front_of};
use futures_util::{SinkExt, StreamExt};
use heddle_e2e::echo::pattern;
use heddle_e2e::proxy::Proxy;
use heddle_e2e::scale;
use heddle_e2e::script::until;
use heddle_e2e::websocket::WebSocketEcho;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};

async fn connect(proxy: &Proxy) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(proxy.outbound())
        .await
        .expect("the proxy listens");
    stream
        .set_nodelay(true)
        .expect("a connected socket takes options");
    let request = format!("ws://{NAME}/chat")
        .into_client_request()
        .expect("the address is valid");
    let config = WebSocketConfig::default()
        .max_message_size(None)
        .max_frame_size(None);
    let opened = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
    opened.expect("the handshake succeeds").0
}

async fn echoed(socket: &mut WebSocketStream<TcpStream>, message: Message) -> Message {
    socket.send(message).await.expect("the socket is open");
    let next = tokio::time::timeout(Duration::from_secs(20), socket.next());
    next.await
        .expect("the echo comes in time")
        .expect("the socket is open")
        .expect("the echo is whole")
}

#[tokio::test]
async fn thirty_six_thousand_echoes_within_a_minute() {
    const CONNECTIONS: usize = 40;
    const EACH: usize = 900;
    let server = WebSocketEcho::start();
    let proxy = in_front_of(server.address());
    let started = Instant::now();
    let talks: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let stream = connect(&proxy);
            (number, stream)
        })
        .collect();
    let mut tasks = Vec::new();
    for (number, stream) in talks {
        let mut socket = stream.await;
        tasks.push(tokio::spawn(async move {
            for round in 0..EACH {
                let text = format!("{number} {round}");
                let echo = echoed(&mut socket, Message::text(text.clone())).await;
                assert_eq!(echo.to_text().expect("text"), text);
            }
            socket.close(None).await.expect("the socket is open");
            while socket.next().await.is_some() {}
            EACH
        }));
    }
    let mut count = 0;
    for task in tasks {
        count += task.await.expect("no echo is wrong");
    }
    let took = started.elapsed();
    assert_eq!(
        (count, server.echoes()),
        (CONNECTIONS * EACH, CONNECTIONS * EACH)
    );
    assert_eq!(server.connections(), CONNECTIONS);
    assert!(
        took < Duration::from_secs(60),
        "{count} echoes took {took:?}"
    );
    until("all connections end", || server.closed() == CONNECTIONS).await;
}

#[tokio::test]
async fn big_messages_pass() {
    let server = WebSocketEcho::start();
    let proxy = in_front_of(server.address());
    let mut socket = connect(&proxy).await;
    for size in [
        0,
        125,
        126,
        65_535,
        65_536,
        1 << 20,
        (16 << 20) * scale().min(3),
    ] {
        let echo = echoed(&mut socket, Message::binary(pattern(0, size))).await;
        assert!(
            echo.into_data() == pattern(0, size),
            "{size} bytes came back altered"
        );
    }
}

#[tokio::test]
async fn pings_pass_and_are_answered_by_the_peer() {
    let server = WebSocketEcho::start();
    let proxy = in_front_of(server.address());
    let mut socket = connect(&proxy).await;
    let pong = echoed(&mut socket, Message::Ping("mark".into())).await;
    assert_eq!(pong, Message::Pong("mark".into()));
    // The proxy makes none of its own.
    assert_eq!(
        echoed(&mut socket, Message::text("x")).await,
        Message::text("x")
    );
}

#[tokio::test]
async fn close_codes_pass_both_ways() {
    let server = WebSocketEcho::start();
    let proxy = in_front_of(server.address());
    for (code, reason) in [(1000, "bye"), (1011, "broken"), (4999, "ours")] {
        let mut socket = connect(&proxy).await;
        let closed = echoed(&mut socket, Message::text(format!("close {code} {reason}"))).await;
        let Message::Close(Some(frame)) = closed else {
            panic!("{closed:?}")
        };
        assert_eq!(
            (frame.code, frame.reason.as_str()),
            (CloseCode::from(code), reason)
        );
        while socket.next().await.is_some() {}
    }
    until("all connections end", || server.closed() == 3).await;
}

#[tokio::test]
async fn a_connection_that_vanishes_is_noticed_on_the_other_side() {
    let server = WebSocketEcho::start();
    let proxy = in_front_of(server.address());
    let mut socket = connect(&proxy).await;
    echoed(&mut socket, Message::text("x")).await;
    drop(socket);
    until("the server sees the client vanish", || server.closed() == 1).await;

    let mut socket = connect(&proxy).await;
    socket
        .send(Message::text("drop"))
        .await
        .expect("the socket is open");
    let ended = tokio::time::timeout(Duration::from_secs(5), socket.next())
        .await
        .expect("it ends");
    assert!(matches!(ended, None | Some(Err(_))), "{ended:?}");
}

#[tokio::test]
async fn a_socket_that_idles_stays_open() {
    let server = WebSocketEcho::start();
    let proxy = in_front_of(server.address());
    let mut socket = connect(&proxy).await;
    // Longer than the pool keeps an idle connection.
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert_eq!(
        echoed(&mut socket, Message::text("still")).await,
        Message::text("still")
    );
}
