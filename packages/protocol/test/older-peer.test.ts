import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { OffloadError } from '@cni-offload/sdk'
import { Client, credentials, loadPackageDefinition, Metadata, Server, ServerCredentials, type ServiceDefinition } from '@grpc/grpc-js'
import { load } from '@grpc/proto-loader'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createOffloadClient, createOffloadServer, HEARTBEAT, type OffloadApi } from '../src/index.ts'
import { api, ATTACH, ctx, KEY, NODE, type Pki, pki, RESULT } from './fixture.ts'

/** The protocol as it was before "kept", "request", "had" and Heartbeat: peers of that time know nothing of what came later. */
const OLDER = fileURLToPath(new URL('./fixtures/offload-older.proto', import.meta.url))

let certificates: Pki
let service: ServiceDefinition
beforeAll(async () => {
  certificates = await pki()
  const loaded = loadPackageDefinition(await load(OLDER, { keepCase: true, longs: Number, enums: String }))
  service = (loaded as any).offload.v1.Offload.service
})
afterAll(() => certificates[Symbol.asyncDispose]())

const pem = async ({ ca, cert, key }: { ca: string; cert: string; key: string }) => ({
  ca: await readFile(ca),
  cert: await readFile(cert),
  key: await readFile(key),
})

const wireResult = { ...RESULT, dns: { nameservers: { values: ['10.0.0.53'] } } }

describe('an agent of an older build', () => {
  const serve = async (handlers: Record<string, any>): Promise<{ address: string } & AsyncDisposable> => {
    const { ca, cert, key } = await pem(certificates.agent)
    const server = new Server()
    server.addService(service, handlers)
    const port = await new Promise<number>((resolve, reject) => {
      const secured = ServerCredentials.createSsl(ca, [{ cert_chain: cert, private_key: key }], true)
      server.bindAsync('127.0.0.1:0', secured, (error, bound) => (error === null ? resolve(bound) : reject(error)))
    })
    return { address: `tcp://127.0.0.1:${port}`, [Symbol.asyncDispose]: async () => server.forceShutdown() }
  }

  test('is understood, and takes no offence at what it does not know', async () => {
    const seen: any[] = []
    const failed = new Metadata()
    failed.set('offload-code', 'CHECK_FAILED')
    failed.set('offload-message-bin', Buffer.from('the port is down'))
    await using agent = await serve({
      Handshake: (call: any, done: any) => {
        seen.push(call.request)
        done(null, { protocol: 1, instance_id: 'old', networks: ['*'] })
      },
      Attach: (call: any, done: any) => {
        seen.push(call.request)
        done(null, { result: wireResult, port: 'p3' })
      },
      Detach: (_call: any, done: any) => done(null, {}),
      Check: (_call: any, done: any) => done({ code: 9, details: 'the port is down', metadata: failed }),
      Status: (_call: any, done: any) => done(null, {}),
      List: (call: any) => {
        call.write({
          key: { network: 'podnet', container_id: 'c', if_name: 'eth0' },
          vf: { device: 'd', index: 1 },
          port: 'p',
          phase: 2,
          result: wireResult,
        })
        call.end()
      },
      Resync: (call: any) => {
        call.on('data', (message: any) => {
          seen.push(message)
          if (message.wired) call.write({ key: message.wired.key, action: 1, result: wireResult })
          else call.end()
        })
      },
    })
    await using client = createOffloadClient({ address: agent.address, tls: certificates.host, node: NODE })
    const greeting = { protocol: { min: 1, max: 1 }, node: NODE, bootId: 'b', features: [HEARTBEAT] }
    expect(await client.handshake(greeting, ctx())).toEqual({ protocol: 1, instanceId: 'old', networks: ['*'], features: [], kept: [] })
    expect((await client.attach(ATTACH, ctx())).result.ips).toEqual(RESULT.ips)
    await client.detach({ key: KEY }, ctx())
    await client.status({}, ctx())
    await expect(client.check({ key: KEY }, ctx())).rejects.toMatchObject({ code: 'CHECK_FAILED', message: 'the port is down' })
    expect(await client.list(ctx())).toMatchObject([{ key: { containerId: 'c' }, state: 'attached' }])
    const wired = async function* () {
      yield { ...ATTACH, had: RESULT }
    }
    const events = []
    for await (const event of client.resync(wired(), ctx())) events.push(event)
    expect(events).toMatchObject([{ action: 'kept' }])
    const beats = client.heartbeat((async function* () {})(), ctx())[Symbol.asyncIterator]()
    await expect(beats.next()).rejects.toMatchObject({ code: 'INCOMPATIBLE_PEER' })
  })
})

describe('a host of an older build', () => {
  test('is served', async () => {
    const calls: string[] = []
    const served: OffloadApi = api({
      async handshake({ features }) {
        calls.push(`handshake ${features.join()}`)
        return {
          protocol: 1,
          instanceId: 'new',
          networks: ['*'],
          features: [HEARTBEAT],
          kept: [{ network: '*', vfs: [{ device: 'd', index: 1 }] }],
        }
      },
      async attach({ key, had }) {
        calls.push(`attach ${key.containerId} ${had === undefined}`)
        return { result: RESULT, port: 'p' }
      },
      async check() {
        throw new OffloadError('CHECK_FAILED', 'the port is down')
      },
    })
    await using server = await createOffloadServer({ listen: 'tcp://127.0.0.1:0', tls: certificates.agent, api: served })
    const { ca, cert, key } = await pem(certificates.host)
    const secured = credentials.createSsl(ca, key, cert, { checkServerIdentity: () => undefined })
    const client = new Client(server.address.replace('tcp://', ''), secured)
    try {
      const ask = (name: string, request: object): Promise<any> =>
        new Promise((resolve, reject) => {
          const { path, requestSerialize, responseDeserialize } = service[name]!
          client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, (error, reply) =>
            error === null ? resolve(reply) : reject(error),
          )
        })
      const { instance_id } = await ask('Handshake', { min_protocol: 1, max_protocol: 1, node: NODE, boot_id: 'b' })
      expect(instance_id).toBe('new')
      const wire = {
        key: { network: 'podnet', container_id: 'c', if_name: 'eth0' },
        pod: {},
        vf: { device: 'd', index: 1 },
        vf_mac: '02:00:00:00:00:01',
      }
      const attached = await ask('Attach', { ...wire, netconf_json: '{}', runtime_config_json: '{}', flags: {} })
      expect(attached.result.mac).toBe(RESULT.mac)
      await expect(ask('Check', { key: wire.key })).rejects.toMatchObject({ code: 9, details: 'the port is down' })
      expect(calls).toEqual(['handshake ', 'attach c true'])
    } finally {
      client.close()
    }
  })
})
