//! The page in a real browser.

use super::browser::Browser;
use super::demo::Demo;
use heddle_e2e::binary::repository;
use std::path::PathBuf;

/// Signs in by the demo's link, taps the card in a shop, and waits until the feed shows the payment booked.
///
/// `HEDDLE_WRITE_DOCS=1` keeps the picture that docs/bank.md shows.
pub(crate) fn pays_and_shows_it_in_the_feed() {
    let demo = Demo::open();
    let guest = &demo.customers[0];
    let text = |name: &str| guest[name].as_str().expect("customers have it").to_owned();
    let link = format!(
        "http://{}/#customer={}&secret={}",
        demo.address("gateway"),
        text("id"),
        text("secret")
    );
    let mut browser = Browser::open(&link, 1280, 900);

    browser.wait("document.querySelectorAll('.shop').length >= 10");
    browser.wait("document.querySelector('#live').classList.contains('on')");
    assert_eq!(
        browser.value("location.hash"),
        "",
        "the secret does not stay in the address"
    );

    browser.click(".shop:nth-child(2)");
    browser.wait("document.querySelector('#verdict').innerText.includes('Approved')");
    // First reserved, then booked: one line from the beginning to the end.
    browser.wait("[...document.querySelectorAll('#feed li')].some(line => line.innerText.includes('Crumb & Crust'))");
    browser.wait(
        "[...document.querySelectorAll('#feed li:not(.held)')].some(line => line.innerText.includes('Crumb & Crust') \
         && line.innerText.includes('booked'))",
    );
    let lines = "[...document.querySelectorAll('#feed li')].filter(line => line.innerText.includes('Crumb')).length";
    assert_eq!(browser.value(lines), 1);
    browser.wait("!document.querySelector('#spending').hidden");

    browser.click("#freeze");
    browser.wait("document.querySelector('#card').classList.contains('frozen')");
    browser.click(".shop:nth-child(1)");
    browser.wait("document.querySelector('#verdict').innerText.includes('The card is frozen')");
    browser.click("#freeze");
    browser.wait("!document.querySelector('#card').classList.contains('frozen')");

    let friend = demo.customers[1]["accounts"][0]["id"]
        .as_str()
        .expect("an account has an id")
        .to_owned();
    browser.value(&format!(
        "(() => {{ const form = document.querySelector('#transfer'); form.to.value = {friend:?}; \
         form.amount.value = '12.50'; form.reference.value = 'Lunch'; form.requestSubmit(); }})()"
    ));
    browser.wait("document.querySelector('#transfer .problem').innerText.includes('Sent')");
    browser.wait(
        "[...document.querySelectorAll('#feed li')].some(line => line.innerText.includes('Lunch'))",
    );

    for (width, height) in [(1280, 1300), (360, 1800)] {
        browser.resize(width, height);
        assert_eq!(
            browser.value("document.documentElement.scrollWidth"),
            width,
            "nothing sticks out"
        );
    }
    if std::env::var("HEDDLE_WRITE_DOCS").as_deref() == Ok("1") {
        browser.resize(1280, 1300);
        for shop in [1, 4, 5, 6] {
            browser.click(&format!(".shop:nth-child({shop})"));
            browser.wait(&format!(
                "!document.querySelector('.shop:nth-child({shop})').disabled"
            ));
        }
        browser.wait("document.querySelectorAll('#feed li:not(.held)').length >= 7");
        let picture: PathBuf = repository().join("docs/img/bank.png");
        browser.picture(&picture);
    }
    assert_eq!(browser.complaints, Vec::<String>::new());
    drop(browser);
    demo.end();
}
