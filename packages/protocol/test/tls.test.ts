import { execFile } from 'node:child_process'
import { copyFile, readFile, rename } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { connect as tlsConnect } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Logger, OffloadError } from '@cni-offload/sdk'
import { silentLogger } from '@cni-offload/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { TlsFiles } from '../src/api.ts'
import { createOffloadClient, createOffloadServer, type OffloadServer } from '../src/index.ts'
import { createAuthority, issueCertificate } from '../src/pki/index.ts'
import { loadTls } from '../src/tls/files.ts'
import { api, ctx, failure, forge, NODE, type Pki, pki } from './fixture.ts'

let certificates: Pki
beforeAll(async () => {
  certificates = await pki()
})
afterAll(() => certificates[Symbol.asyncDispose]())

const serve = (tls: TlsFiles, over: Partial<Parameters<typeof createOffloadServer>[0]> = {}): Promise<OffloadServer> =>
  createOffloadServer({ listen: 'tcp://127.0.0.1:0', tls, api: api({ status: async () => {} }), ...over })

/** What one call gets from a server with `agent` when the client has `host`. */
const attempt = async (
  host: TlsFiles,
  agent: TlsFiles,
  over: Partial<Parameters<typeof createOffloadServer>[0]> = {},
): Promise<OffloadError> => {
  await using server = await serve(agent, over)
  await using client = createOffloadClient({ address: server.address, tls: host, node: NODE, connectTimeoutMs: 3000 })
  return await failure(client.status({}, ctx()))
}

const handshake = (port: number, options: object): Promise<Error | undefined> =>
  new Promise((resolve) => {
    const socket = tlsConnect({ port, host: '127.0.0.1', ALPNProtocols: ['h2'], rejectUnauthorized: false, ...options })
    socket.once('error', resolve)
    socket.once('close', () => resolve(new Error('closed')))
    // TLS 1.3 refuses after the handshake; a server that accepts sends its HTTP/2 settings instead.
    socket.once('data', () => {
      socket.removeAllListeners()
      socket.on('error', () => {}).destroy()
      resolve(undefined)
    })
  })
const portOf = (server: OffloadServer): number => Number(new URL(server.address).port)

const DAY = 86_400_000
const past = { notBefore: new Date(Date.now() - 3 * DAY), notAfter: new Date(Date.now() - DAY) }
const future = { notBefore: new Date(Date.now() + DAY), notAfter: new Date(Date.now() + 3 * DAY) }
const HOST = `spiffe://cni-offload/host/${NODE}`
const AGENT = `spiffe://cni-offload/agent/${NODE}`

// A client that is refused goes on trying for a while before it tells: these wait side by side.
describe.concurrent('the client refuses', () => {
  test.each([
    ['an expired certificate', { uris: [AGENT], ...past }, /agent's certificate has expired/],
    ['a certificate that is not valid yet', { uris: [AGENT], ...future }, /agent's certificate is not valid yet/],
    [
      'a host as server',
      { uris: [HOST] },
      /somebody else is there.*names spiffe:\/\/cni-offload\/host\/node-1, expected spiffe:\/\/cni-offload\/agent\/node-1/,
    ],
    ["another node's agent", { uris: ['spiffe://cni-offload/agent/node-2'] }, /somebody else is there.*agent\/node-2/],
    ['a certificate without identity', { uris: [] }, /somebody else is there.*no identity of ours/],
    [
      'a certificate with two identities',
      { uris: [AGENT, 'spiffe://cni-offload/agent/node-2'] },
      /somebody else is there.*no identity of ours/,
    ],
    ['a certificate for clients only', { uris: [AGENT], usage: ['client'] as const }, /not for an agent/],
  ])('%s', async (name, what, message) => {
    const error = await attempt(certificates.host, await forge(certificates, name.replaceAll(/\W/g, '-'), what))
    expect(error.code).toBe('AGENT_UNREACHABLE')
    expect(error.message).toMatch(message)
    expect(error.hint).toBeDefined()
    if (message.source.includes(': it '))
      expect(error.hint).toMatch(/By the clock of this host it is \d{4}-.* clocks of host and DPU right/)
  })

  test('a certificate of another authority', async () => {
    await using other = await pki()
    const error = await attempt(certificates.host, { ...other.agent, ca: certificates.agent.ca })
    expect(error.code).toBe('AGENT_UNREACHABLE')
    expect(error.message).toMatch(/agent's certificate is from another authority/)
  })
})

describe.concurrent('NODE_TLS_REJECT_UNAUTHORIZED=0 does not keep the client from refusing', () => {
  /** Code and message of one call from a process that has the variable set. */
  const elsewhere = async (agent: TlsFiles): Promise<string> => {
    await using server = await serve(agent)
    const fixture = fileURLToPath(new URL('./fixtures/one-call.ts', import.meta.url))
    const { stdout } = await promisify(execFile)(process.execPath, [fixture, server.address, JSON.stringify(certificates.host)], {
      env: { ...process.env, NODE_TLS_REJECT_UNAUTHORIZED: '0' },
      timeout: 20_000,
    })
    return stdout
  }

  test('a certificate of another authority', async () => {
    await using other = await pki()
    expect(await elsewhere({ ...other.agent, ca: certificates.agent.ca })).toMatch(/^AGENT_UNREACHABLE .*from another authority/)
  })

  test('an expired certificate', async () => {
    const forged = await forge(certificates, 'expired-and-unchecked', { uris: [AGENT], ...past })
    expect(await elsewhere(forged)).toMatch(/^AGENT_UNREACHABLE .*certificate has expired/)
  })

  test("another node's agent", async () => {
    const forged = await forge(certificates, 'other-and-unchecked', { uris: ['spiffe://cni-offload/agent/node-2'] })
    expect(await elsewhere(forged)).toMatch(/^AGENT_UNREACHABLE .*somebody else is there/)
  })

  test('and nothing else', async () => {
    expect(await elsewhere(certificates.agent)).toBe('OK')
  })
})

describe.concurrent('the server refuses', () => {
  test.each([
    ['an expired certificate', { uris: [HOST], ...past }, /refuses the host's certificate: it has expired .*expired on \d{4}-\d\d-/],
    [
      'a certificate that is not valid yet',
      { uris: [HOST], ...future },
      /the host's certificate: it is not valid yet .*before \d{4}-\d\d-/,
    ],
    ['a certificate for servers only', { uris: [HOST], usage: ['server'] as const }, /refuses the host's certificate/],
  ])('%s in the handshake', async (name, what, message) => {
    const error = await attempt(await forge(certificates, `client-${name.replaceAll(/\W/g, '-')}`, what), certificates.agent)
    expect(error.code).toBe('AGENT_UNREACHABLE')
    expect(error.message).toMatch(message)
    expect(error.hint).toBeDefined()
    if (message.source.includes(': it '))
      expect(error.hint).toMatch(/By the clock of this host it is \d{4}-.* clocks of host and DPU right/)
  })

  test('a certificate of another authority in the handshake', async () => {
    await using other = await pki()
    const error = await attempt({ ...other.host, ca: certificates.host.ca }, certificates.agent)
    expect(error.code).toBe('AGENT_UNREACHABLE')
    expect(error.message).toMatch(/authority|could not verify/)
  })

  test.each([
    ['an agent as client', { uris: [AGENT] }, /only hosts may call the agent.*agent\/node-1/],
    ['a certificate without identity', { uris: [] }, /carries no identity of ours/],
    [
      'an identity of another trust domain',
      { uris: ['spiffe://elsewhere/host/node-1'] },
      /carries no identity of ours.*spiffe:\/\/elsewhere/,
    ],
  ])('%s on each call', async (name, what, message) => {
    const error = await attempt(await forge(certificates, `client-${name.replaceAll(/\W/g, '-')}`, what), certificates.agent)
    expect(error.code).toBe('PERMISSION_DENIED')
    expect(error.message).toMatch(message)
  })

  test('a host that the composition does not authorize, on every kind of call', async () => {
    const { OffloadError: Refusal } = await import('@cni-offload/sdk')
    const authorize = (): never => {
      throw new Refusal('PERMISSION_DENIED', 'this agent serves node-9')
    }
    await using server = await serve(certificates.agent, { authorize })
    await using client = createOffloadClient({ address: server.address, tls: certificates.host, node: NODE })
    const resync = async (): Promise<void> => {
      for await (const event of client.resync((async function* () {})(), ctx())) throw new Error(`got ${event.action}`)
    }
    for (const call of [() => client.status({}, ctx()), () => client.list(ctx()), resync])
      expect(await failure(call())).toMatchObject({ code: 'PERMISSION_DENIED', message: 'this agent serves node-9' })
  })

  test('a client without certificate', async () => {
    await using server = await serve(certificates.agent)
    expect(await handshake(portOf(server), {})).toBeInstanceOf(Error)
  })

  test('TLS 1.2 although the certificate is right', async () => {
    await using server = await serve(certificates.agent)
    const own = { cert: await readFile(certificates.host.cert), key: await readFile(certificates.host.key) }
    expect(await handshake(portOf(server), { ...own, maxVersion: 'TLSv1.2' })).toMatchObject({
      message: expect.stringMatching(/protocol version/),
    })
    expect(await handshake(portOf(server), own)).toBeUndefined()
  })
})

test('the client refuses a server that speaks TLS 1.2 only', async () => {
  const { createServer } = await import('node:tls')
  const files = certificates.agent
  const old = createServer({
    cert: await readFile(files.cert),
    key: await readFile(files.key),
    maxVersion: 'TLSv1.2',
    ALPNProtocols: ['h2'],
  })
  old.on('tlsClientError', () => {})
  await new Promise<void>((resolve) => old.listen(0, '127.0.0.1', resolve))
  await using client = createOffloadClient({
    address: `tcp://127.0.0.1:${(old.address() as AddressInfo).port}`,
    tls: certificates.host,
    node: NODE,
    connectTimeoutMs: 1500,
  })
  const error = await failure(client.status({}, ctx()))
  old.close()
  expect(error.code).toBe('AGENT_UNREACHABLE')
  expect(error.message).toMatch(/does not speak TLS 1\.3/)
})

describe('files', () => {
  test.each([
    ['ca', /tls\.ca = "\/nowhere" can't be read/],
    ['cert', /tls\.cert = "\/nowhere" can't be read/],
    ['key', /tls\.key = "\/nowhere" can't be read/],
  ] as const)('a missing %s is named', (part, message) => {
    expect(() =>
      createOffloadClient({ address: 'tcp://127.0.0.1:1', node: NODE, tls: { ...certificates.host, [part]: '/nowhere' } }),
    ).toThrow(message)
  })

  test('a key of another certificate is named', () => {
    expect(() => loadTls({ ...certificates.host, key: certificates.agent.key })).toThrow(/is not the private key of tls\.cert/)
  })

  test('text that is not PEM is named', () => {
    expect(() => loadTls({ ...certificates.host, cert: certificates.host.key })).toThrow(/tls\.cert = .* is not a PEM certificate/)
    expect(() => loadTls({ ...certificates.host, ca: certificates.host.key })).toThrow(/tls\.ca = .* is not a PEM certificate/)
  })
})

describe('rotation', () => {
  /** Logs to nowhere; resolves when certificates were taken up. */
  const reloads = (): { readonly log: Logger; readonly reloaded: Promise<void> } => {
    const done = Promise.withResolvers<void>()
    const log: Logger = { ...silentLogger, info: (_fields, message) => (message === 'certificates reloaded' ? done.resolve() : undefined) }
    return { log, reloaded: done.promise }
  }

  test('both ends take up renewed certificates of a new authority without a restart', async () => {
    await using own = await pki()
    const onServer = reloads()
    const onClient = reloads()
    const seen: string[] = []
    const served = api({ status: async () => void seen.push('call') })
    const first = await serve(own.agent, { api: served, log: onServer.log })
    await using client = createOffloadClient({ address: first.address, tls: own.host, node: NODE, log: onClient.log })
    await client.status({}, ctx())

    const next = join(own.dir, 'next')
    await createAuthority({ dir: next })
    for (const [role, files] of [
      ['host', own.host],
      ['agent', own.agent],
    ] as const) {
      const made = await issueCertificate({ authority: next, role, node: NODE, out: join(own.dir, `${role}-next`) })
      for (const part of ['ca', 'key', 'cert'] as const) await rename(made[part], files[part])
    }
    await Promise.all([onServer.reloaded, onClient.reloaded])

    // The connection that exists goes on; a new one needs certificates of the new authority at both ends.
    await client.status({}, ctx())
    await using fresh = createOffloadClient({ address: first.address, tls: own.host, node: NODE })
    await fresh.status({}, ctx())
    const own12 = { cert: await readFile(own.host.cert), key: await readFile(own.host.key), maxVersion: 'TLSv1.2' }
    expect(await handshake(portOf(first), own12)).toMatchObject({ message: expect.stringMatching(/protocol version/) })
    await using stranger = createOffloadClient({ address: first.address, tls: certificates.host, node: NODE })
    expect(await failure(stranger.status({}, ctx()))).toMatchObject({ code: 'AGENT_UNREACHABLE' })

    // The old client reconnects with what it has taken up.
    await first[Symbol.asyncDispose]()
    await using second = await createOffloadServer({ listen: first.address, tls: own.agent, api: served })
    await client.waitReady(AbortSignal.timeout(10_000))
    await client.status({}, ctx())
    expect(second.address).toBe(first.address)
    expect(seen).toHaveLength(4)
  })

  test('a set that is only half written is not used, and is once it is whole', async () => {
    await using own = await pki()
    const refused = Promise.withResolvers<void>()
    const taken = reloads()
    const log: Logger = { ...taken.log, warn: () => refused.resolve() }
    await using server = await serve(own.agent, { log })
    const made = await issueCertificate({ authority: own.authority, role: 'agent', node: NODE, out: join(own.dir, 'again') })
    await copyFile(made.cert, own.agent.cert)
    await refused.promise
    await using client = createOffloadClient({ address: server.address, tls: own.host, node: NODE })
    await client.status({}, ctx())
    await copyFile(made.key, own.agent.key)
    await taken.reloaded
    await using later = createOffloadClient({ address: server.address, tls: own.host, node: NODE })
    await later.status({}, ctx())
  })
})
