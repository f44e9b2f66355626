import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { connect as http2Connect } from 'node:http2'
import { connect as tlsConnect } from 'node:tls'
import { credentials as grpcCredentials, Client, Metadata, type ServiceError, status } from '@grpc/grpc-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AttachRequest, OffloadService } from '../src/gen/offload/v1/offload.ts'
import { createOffloadClient, createOffloadServer, type OffloadServer } from '../src/index.ts'
import { api, ATTACH, ctx, KEY, NODE, type Pki, pki, RESULT } from './fixture.ts'

let certificates: Pki
let server: OffloadServer
let raw: Client
const seen: unknown[] = []

beforeAll(async () => {
  certificates = await pki()
  server = await createOffloadServer({
    listen: 'tcp://127.0.0.1:0',
    tls: certificates.agent,
    api: api({
      attach: async (call) => (seen.push(call), { result: RESULT, port: 'p' }),
      status: async () => {},
      async *resync(wired) {
        for await (const call of wired) yield { key: call.key, action: 'kept' }
      },
    }),
  })
  raw = new Client(new URL(server.address).host, rawCredentials(), {
    'grpc.max_send_message_length': -1,
    'grpc.ssl_target_name_override': 'agent',
  })
})

afterAll(async () => {
  raw.close()
  await server[Symbol.asyncDispose]()
  await certificates[Symbol.asyncDispose]()
})

const rawCredentials = (): ReturnType<typeof grpcCredentials.createSsl> => {
  const { ca, cert, key } = certificates.host
  return grpcCredentials.createSsl(readFileSync(ca), readFileSync(key), readFileSync(cert), { checkServerIdentity: () => undefined })
}

const asIs = (bytes: Buffer): Buffer => bytes

const send = (path: string, bytes: Buffer, metadata = new Metadata()): Promise<Buffer | ServiceError> =>
  new Promise((resolve) => {
    raw.makeUnaryRequest(path, asIs, asIs, bytes, metadata, { deadline: Date.now() + 10_000 }, (error, reply) =>
      resolve(error ?? reply ?? Buffer.alloc(0)),
    )
  })

/** The server still does its work for a client that behaves. */
const alive = async (): Promise<void> => {
  await using client = createOffloadClient({ address: server.address, tls: certificates.host, node: NODE })
  await client.status({}, ctx())
}

describe('a client that misbehaves does no harm', () => {
  test('bytes that are no message', async () => {
    const paths = [OffloadService.attach, OffloadService.detach, OffloadService.check, OffloadService.handshake, OffloadService.list].map(
      ({ path }) => path,
    )
    for (let round = 0; round < 40; round += 1) {
      for (const path of paths) {
        const outcome = await send(path, randomBytes(round * 7 + 1))
        if (Buffer.isBuffer(outcome)) continue
        expect([status.INVALID_ARGUMENT, status.INTERNAL]).toContain(outcome.code)
      }
    }
    expect(seen).toEqual([])
    await alive()
  })

  test('a message cut off, or with fields of the wrong kind, is told by name', async () => {
    const garbage = await send(OffloadService.attach.path, Buffer.from([0xff, 0xff, 0xff]))
    expect(garbage).toMatchObject({ code: status.INVALID_ARGUMENT, details: expect.stringContaining('AttachRequest is not the message') })
    const empty = await send(OffloadService.attach.path, Buffer.alloc(0))
    expect(empty).toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringMatching(/AttachRequest: key is missing.*pod is missing/),
    })
    expect((empty as ServiceError).metadata.get('offload-code')).toEqual(['UNDECODABLE'])
  })

  const message = (over: Partial<AttachRequest>): Buffer =>
    Buffer.from(
      AttachRequest.encode({
        key: KEY,
        pod: ATTACH.pod,
        vf: ATTACH.vf,
        vfMac: ATTACH.vfMac,
        netconfJson: '{}',
        runtimeConfigJson: '{}',
        cniArgs: {},
        hostIpam: undefined,
        flags: undefined,
        hostEnforces: [],
        ...over,
      }).finish(),
    )

  test.each([
    ['a name that is a path', { key: { ...KEY, network: '../etc' } }, /key\.network = "\.\.\/etc"/],
    ['a name that is too long', { key: { ...KEY, containerId: 'c'.repeat(1025) } }, /key\.containerId/],
    ['an interface name that the kernel refuses', { key: { ...KEY, ifName: 'sixteen-letters!' } }, /key\.ifName = "sixteen-letters!"/],
    ['a netconf that is no JSON', { netconfJson: '{' }, /netconf = "{": not JSON/],
    ['a netconf that is no object', { netconfJson: '[]' }, /netconf = "\[\]".*a JSON object/],
    ['a netconf that is too long', { netconfJson: JSON.stringify({ a: 'x'.repeat(4 * 1024 * 1024) }) }, /netconf/],
    ['a MAC that is none', { vfMac: 'zz' }, /vfMac = "zz"/],
    ['a VLAN that is none', { vlan: 4095 }, /vlan = 4095/],
    [
      'more arguments than anybody needs',
      { cniArgs: Object.fromEntries(Array.from({ length: 1025 }, (_, index) => [`a${index}`, ''])) },
      /cniArgs.*at most 1024 entries/,
    ],
    [
      'more addresses than anybody needs',
      { hostIpam: { ips: Array.from({ length: 65 }, () => ({ address: '10.0.0.1/32' })), routes: [], dns: undefined } },
      /hostIpam.ips/,
    ],
  ] satisfies [string, Partial<AttachRequest>, RegExp][])('%s', async (_name, over, details) => {
    const outcome = await send(OffloadService.attach.path, message(over))
    expect(outcome).toMatchObject({ code: status.INVALID_ARGUMENT, details: expect.stringMatching(details) })
    expect(seen).toEqual([])
  })

  test('keys that reach for prototypes change nothing', async () => {
    const outcome = await send(
      OffloadService.attach.path,
      message({
        netconfJson: '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}',
        cniArgs: JSON.parse('{"__proto__":"x","toString":"y"}'),
      }),
    )
    expect(Buffer.isBuffer(outcome)).toBe(true)
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
    const [call] = seen.splice(0) as (typeof ATTACH)[]
    expect(Object.getPrototypeOf(call?.netconf)).toBe(Object.prototype)
    expect(call?.cniArgs).toEqual({ toString: 'y' })
  })

  test('a message larger than the limit', async () => {
    const outcome = await send(OffloadService.attach.path, message({ netconfJson: 'x'.repeat(9 * 1024 * 1024) }))
    expect(outcome).toMatchObject({ code: status.RESOURCE_EXHAUSTED })
    await alive()
  })

  test('a compressed message that explodes', async () => {
    const { gzipSync } = await import('node:zlib')
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024))
    const frame = Buffer.concat([Buffer.from([1, 0, 0, 0, 0]), bomb])
    frame.writeUInt32BE(bomb.length, 1)
    const { ca, cert, key } = certificates.host
    const session = http2Connect(server.address.replace('tcp:', 'https:'), {
      ca: readFileSync(ca),
      cert: readFileSync(cert),
      key: readFileSync(key),
      checkServerIdentity: () => undefined,
    })
    const stream = session.request({
      ':method': 'POST',
      ':path': OffloadService.attach.path,
      'content-type': 'application/grpc',
      'grpc-encoding': 'gzip',
      te: 'trailers',
    })
    const answer = Promise.withResolvers<unknown>()
    stream.on('response', (headers) => answer.resolve(headers['grpc-status']))
    stream.on('error', answer.reject)
    stream.end(frame)
    expect(await answer.promise).toBe(String(status.RESOURCE_EXHAUSTED))
    session.destroy()
    await alive()
  })

  test('a method that does not exist', async () => {
    expect(await send('/offload.v1.Offload/Nonsense', Buffer.alloc(0))).toMatchObject({ code: status.UNIMPLEMENTED })
  })

  test('a request id that could break a log line is dropped', async () => {
    const metadata = new Metadata()
    metadata.set('offload-request-id', `${'x'.repeat(129)}`)
    expect(Buffer.isBuffer(await send(OffloadService.status.path, Buffer.alloc(0), metadata))).toBe(true)
  })

  test('a resync with garbage in the middle ends with an error', async () => {
    const stream = raw.makeBidiStreamRequest(OffloadService.resync.path, asIs, asIs)
    const error = Promise.withResolvers<ServiceError>()
    stream.on('data', () => {})
    stream.on('error', error.resolve)
    stream.write(Buffer.from([0xff, 0xff, 0xff]))
    expect(await error.promise).toMatchObject({ code: status.INVALID_ARGUMENT })
    await alive()
  })

  test('a resync that half-closes without saying that it is complete is an error', async () => {
    const stream = raw.makeBidiStreamRequest(OffloadService.resync.path, asIs, asIs)
    const error = Promise.withResolvers<ServiceError>()
    stream.on('data', () => {})
    stream.on('error', error.resolve)
    stream.end()
    expect(await error.promise).toMatchObject({ code: status.CANCELLED })
  })

  test('TLS with a certificate and then no HTTP/2', async () => {
    const { ca, cert, key } = certificates.host
    for (let round = 0; round < 10; round += 1) {
      const closed = Promise.withResolvers<void>()
      const socket = tlsConnect({
        port: Number(new URL(server.address).port),
        host: '127.0.0.1',
        ca: readFileSync(ca),
        cert: readFileSync(cert),
        key: readFileSync(key),
        ALPNProtocols: ['h2'],
        checkServerIdentity: () => undefined,
      })
      socket.on('error', () => {})
      socket.on('close', () => closed.resolve())
      socket.on('secureConnect', () => socket.write(randomBytes(300)))
      socket.resume()
      await closed.promise
    }
    await alive()
  })

  test('plain bytes instead of TLS', async () => {
    const { connect } = await import('node:net')
    const closed = Promise.withResolvers<void>()
    const socket = connect({ port: Number(new URL(server.address).port), host: '127.0.0.1' })
    socket.on('error', () => {}).on('close', () => closed.resolve())
    socket.resume().write('GET / HTTP/1.1\r\n\r\n')
    await closed.promise
    await alive()
  })
})

describe('companions', () => {
  test('the standard health service answers what it was told', async () => {
    const health = await import('grpc-health-check')
    const { Check: check } = health.service as unknown as Record<
      string,
      { path: string; requestSerialize(v: object): Buffer; responseDeserialize(b: Buffer): { status: string } }
    >
    const ask = async (service: string): Promise<unknown> => {
      const outcome = await send(check!.path, check!.requestSerialize({ service }))
      return Buffer.isBuffer(outcome) ? check!.responseDeserialize(outcome).status : outcome.code
    }
    expect(await ask('')).toBe('NOT_SERVING')
    server.setHealth(true)
    expect([await ask(''), await ask('offload.v1.Offload')]).toEqual(['SERVING', 'SERVING'])
    server.setHealth(false)
    expect(await ask('offload.v1.Offload')).toBe('NOT_SERVING')
    expect(await ask('unknown')).toBe(status.NOT_FOUND)
  })

  test('reflection lists the services and describes ours', async () => {
    const asked = (request: Buffer): Promise<Buffer> =>
      new Promise((resolve, reject) => {
        const stream = raw.makeBidiStreamRequest('/grpc.reflection.v1.ServerReflection/ServerReflectionInfo', asIs, asIs)
        stream.once('data', resolve)
        stream.once('error', reject)
        stream.write(request)
        stream.end()
      })
    // list_services is field 7, file_containing_symbol field 4, both strings.
    expect((await asked(Buffer.from([0x3a, 0x00]))).toString()).toContain('offload.v1.Offload')
    const symbol = Buffer.from('offload.v1.Offload')
    const described = (await asked(Buffer.concat([Buffer.from([0x22, symbol.length]), symbol]))).toString('latin1')
    for (const name of ['Handshake', 'AttachRequest', 'netconf_json', 'Resync']) expect(described).toContain(name)
  })
})
