// The cases of ../README.md with grpc-js. host: connects to TARGET and makes NAME the authority;
// proxy: TARGET is a name, and grpc_proxy or http_proxy says where a CONNECT goes.

import grpc from '@grpc/grpc-js';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

const [how, target, name] = process.argv.slice(2);
const same = (bytes) => bytes;
const method = (path, requestStream, responseStream) => ({
  path: `/heddle.test.Echo/${path}`,
  requestStream,
  responseStream,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});
const Client = grpc.makeGenericClientConstructor({
  unary: method('Unary', false, false),
  look: method('Look', false, false),
  fail: method('Fail', false, false),
  slow: method('Slow', false, false),
  nothing: method('Nothing', false, false),
  cancelled: method('Cancelled', false, false),
  download: method('Download', false, true),
  endless: method('Endless', false, true),
  upload: method('Upload', true, false),
  chat: method('Chat', true, true),
});

function connect(address, authority) {
  const options = { 'grpc.max_receive_message_length': 16 << 20, 'grpc.max_send_message_length': 16 << 20 };
  if (how === 'host') {
    options['grpc.default_authority'] = authority;
  }
  return new Client(address, grpc.credentials.createInsecure(), options);
}

const within = (seconds) => ({ deadline: Date.now() + seconds * 1000 });

// Calls a unary method; gives the code and what came with it, whether it succeeded or not.
function call(client, which, request, { metadata = new grpc.Metadata(), seconds = 20 } = {}) {
  return new Promise((resolve) => {
    const result = { trailing: new grpc.Metadata() };
    const running = client[which](request, metadata, within(seconds), (error, reply) => {
      // The status comes after the reply.
      setImmediate(() => resolve({ ...result, code: error?.code ?? 0, details: error?.details, reply, error }));
    });
    running.on('metadata', (initial) => (result.initial = initial));
    running.on('status', (status) => (result.trailing = status.metadata));
  });
}

async function collect(stream, speak = async () => {}) {
  const messages = [];
  // `once` of events would reject at the error that comes before the status.
  const ended = new Promise((resolve) => stream.on('status', resolve));
  stream.on('error', () => {});
  stream.on('data', (message) => {
    messages.push(message.toString());
    speak(messages.length);
  });
  const status = await ended;
  return { messages, code: status.code, trailing: status.metadata.get('x-trailing')[0] };
}

const client = connect(target, name);
const asking = new grpc.Metadata();
asking.add('x-ask', 'why');
const results = {};

const unary = await call(client, 'unary', Buffer.from('hello'), { metadata: asking });
results.unary = {
  code: unary.code,
  reply: unary.reply?.toString(),
  initial: unary.initial?.get('x-initial')[0],
  trailing: unary.trailing.get('x-trailing')[0],
  binary: [...(unary.trailing.get('x-data-bin')[0] ?? [])],
};

const large = await call(client, 'unary', Buffer.alloc(3 << 20));
results.large = { code: large.code, bytes: large.reply?.length };

const twice = new grpc.Metadata();
twice.add('x-ask', 'a');
twice.add('x-ask', 'b');
const look = await call(client, 'look', Buffer.alloc(0), { metadata: twice, seconds: 10 });
results.look = { code: look.code, report: JSON.parse(look.reply.toString()) };

const down = await collect(client.download(Buffer.from('1000'), within(20)));
results.download = {
  code: down.code,
  messages: down.messages.length,
  ordered: down.messages.every((message, number) => message === `message ${number}`),
  trailing: down.trailing,
};

results.upload = await new Promise((resolve) => {
  const upload = client.upload(within(20), (error, reply) =>
    resolve({ code: error?.code ?? 0, reply: reply?.toString() }),
  );
  for (let number = 0; number < 500; number += 1) {
    upload.write(Buffer.alloc(1000));
  }
  upload.end();
});

const chat = client.chat(within(20));
const talked = collect(chat, (count) => (count < 200 ? chat.write(Buffer.from(`${count}`)) : chat.end()));
chat.write(Buffer.from('0'));
const { messages, code } = await talked;
results.chat = { code, messages: messages.length, ordered: messages.every((text, number) => text === `${number}`) };

const fail = await call(client, 'fail', Buffer.alloc(0));
results.fail = { code: fail.code, details: fail.details, trailing: fail.error.metadata.get('x-trailing')[0] };

const nothing = await call(client, 'nothing', Buffer.alloc(0));
results.unimplemented = { code: nothing.code };

const started = Date.now();
const slow = await call(client, 'slow', Buffer.alloc(0), { seconds: 0.4 });
results.deadline = { code: slow.code, seconds: (Date.now() - started) / 1000 };

const count = async () => Number((await call(client, 'cancelled', Buffer.alloc(0))).reply.toString());
const before = await count();
const endless = client.endless(Buffer.alloc(0), within(20));
const given = collect(endless);
await once(endless, 'data');
endless.cancel();
const stopped = await given;
for (let round = 0; round < 250 && (await count()) === before; round += 1) {
  await sleep(20);
}
results.cancel = { code: stopped.code, heard: (await count()) - before };

const stranger = connect(target.replace(name, 'nobody'), 'nobody');
const unknown = await call(stranger, 'unary', Buffer.alloc(0));
results.unknown = { code: unknown.code, details: unknown.details, error: unknown.error?.metadata.get('heddle-err')[0] };
console.log(JSON.stringify(results));
process.exit(0);
