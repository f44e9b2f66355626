import { lstat, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { OffloadError } from '@cni-offload/sdk'
import { Client, credentials, Server, ServerCredentials } from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type DevicePluginApi,
  DevicePluginService,
  registerDevicePlugin,
  RegistrationService,
  serveDevicePlugin,
} from '../src/device-plugin/index.ts'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'dpp-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

/** A field of the wire format with a length: number, then bytes. */
const field = (number: number, ...bytes: readonly (string | Buffer)[]): Buffer => {
  const content = Buffer.concat(bytes.map((part) => Buffer.from(part as string)))
  return Buffer.concat([Buffer.from([(number << 3) | 2, content.length]), content])
}
const varint = (number: number, value: number): Buffer => Buffer.from([number << 3, value])

describe('the wire is that of kubelet, byte by byte', () => {
  it('has the names of kubelet’s methods', () => {
    expect(Object.values(RegistrationService).map(({ path }) => path)).toEqual(['/v1beta1.Registration/Register'])
    expect(Object.values(DevicePluginService).map(({ path }) => path)).toEqual([
      '/v1beta1.DevicePlugin/GetDevicePluginOptions',
      '/v1beta1.DevicePlugin/ListAndWatch',
      '/v1beta1.DevicePlugin/GetPreferredAllocation',
      '/v1beta1.DevicePlugin/Allocate',
      '/v1beta1.DevicePlugin/PreStartContainer',
    ])
    expect(DevicePluginService.listAndWatch).toMatchObject({ requestStream: false, responseStream: true })
  })

  it('of a registration', () => {
    const options = { preStartRequired: true, getPreferredAllocationAvailable: true }
    expect(
      RegistrationService.register.requestSerialize({ version: 'v1beta1', endpoint: 'a.sock', resourceName: 'a.b/c', options }),
    ).toEqual(Buffer.concat([field(1, 'v1beta1'), field(2, 'a.sock'), field(3, 'a.b/c'), field(4, varint(1, 1), varint(2, 1))]))
  })

  it('of a list', () => {
    const device = { id: 'x', health: 'Healthy', topology: { nodes: [{ id: 1n }] } }
    expect(DevicePluginService.listAndWatch.responseSerialize({ devices: [device] })).toEqual(
      field(1, field(1, 'x'), field(2, 'Healthy'), field(3, field(1, varint(1, 1)))),
    )
  })

  it('of a preference', () => {
    const request = field(1, field(1, 'x'), field(1, 'y'), field(2, 'x'), varint(3, 2))
    expect(DevicePluginService.getPreferredAllocation.requestDeserialize(request)).toEqual({
      containerRequests: [{ availableDeviceIds: ['x', 'y'], mustIncludeDeviceIds: ['x'], allocationSize: 2 }],
    })
    expect(DevicePluginService.getPreferredAllocation.responseSerialize({ containerResponses: [{ deviceIds: ['x', 'y'] }] })).toEqual(
      field(1, field(1, 'x'), field(1, 'y')),
    )
  })

  it('of an allocation, mounts and device nodes of others passed over', () => {
    expect(DevicePluginService.allocate.requestDeserialize(field(1, field(1, 'x'), field(1, 'y')))).toEqual({
      containerRequests: [{ deviceIds: ['x', 'y'] }],
    })
    const envs = field(1, field(1, 'k'), field(2, 'v'))
    const annotations = field(4, field(1, 'a'), field(2, 'b'))
    const answer = { containerResponses: [{ envs: { k: 'v' }, annotations: { a: 'b' } }] }
    expect(DevicePluginService.allocate.responseSerialize(answer)).toEqual(field(1, envs, annotations))
    const foreign = field(1, envs, field(2, field(1, '/a')), field(3, field(1, '/dev/a')), annotations, field(5, field(1, 'v/c=d')))
    expect(DevicePluginService.allocate.responseDeserialize(foreign)).toEqual(answer)
  })
})

const api = (more: Partial<DevicePluginApi> = {}): DevicePluginApi => ({
  options: { preStartRequired: false, getPreferredAllocationAvailable: true },
  async *listAndWatch() {
    yield [{ id: 'x', health: 'Healthy' }]
  },
  preferred: () => ({ containerResponses: [] }),
  allocate: () => ({ containerResponses: [] }),
  ...more,
})

const clientOf = (path: string): Client & Disposable => {
  const client = new Client(`unix:${path}`, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 })
  return Object.assign(client, { [Symbol.dispose]: () => client.close() })
}

describe('serveDevicePlugin', () => {
  it('ends its streams and removes its socket, but not that of a successor', async () => {
    const path = join(dir, 'a.sock')
    const first = await serveDevicePlugin({ path, api: api() })
    const second = await serveDevicePlugin({ path, api: api() })
    expect([await first.inPlace(), await second.inPlace()]).toEqual([false, true])
    await first[Symbol.asyncDispose]()
    expect((await lstat(path)).isSocket()).toBe(true)
    await second[Symbol.asyncDispose]()
    await expect(lstat(path)).rejects.toThrow('ENOENT')
  })

  it('counts the streams that are open', async () => {
    const counts: number[] = []
    const path = join(dir, 'a.sock')
    const more = Promise.withResolvers<void>()
    await using _served = await serveDevicePlugin({
      path,
      api: api({
        async *listAndWatch(signal) {
          yield [{ id: 'x', health: 'Healthy' }]
          await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
        },
      }),
      onWatchers: (count) => {
        counts.push(count)
        if (count === 0) more.resolve()
      },
    })
    using client = clientOf(path)
    const { path: method, requestSerialize, responseDeserialize } = DevicePluginService.listAndWatch
    const stream = client.makeServerStreamRequest(method, requestSerialize, responseDeserialize, {})
    stream.on('error', () => {})
    const list = await new Promise((resolve) => stream.once('data', resolve))
    expect(list).toEqual({ devices: [{ id: 'x', health: 'Healthy' }] })
    stream.cancel()
    await more.promise
    expect(counts).toEqual([1, 0])
  })

  it('answers an error of the plugin by a status with its words', async () => {
    const path = join(dir, 'a.sock')
    const refuse = (): never => {
      throw new OffloadError('NOT_FOUND', 'device "y": unknown')
    }
    await using _served = await serveDevicePlugin({ path, api: api({ allocate: refuse }) })
    using client = clientOf(path)
    const { path: method, requestSerialize, responseDeserialize } = DevicePluginService.allocate
    const error = await new Promise((resolve) =>
      client.makeUnaryRequest(method, requestSerialize, responseDeserialize, { containerRequests: [] }, (failure) => resolve(failure)),
    )
    expect(error).toMatchObject({ code: 5, details: 'device "y": unknown' })
  })

  it('says where it cannot listen', async () => {
    await expect(serveDevicePlugin({ path: join(dir, 'none', 'a.sock'), api: api() })).rejects.toMatchObject({
      code: 'IO_FAILURE',
      message: expect.stringContaining(join(dir, 'none', 'a.sock')),
    })
  })
})

describe('registerDevicePlugin', () => {
  const request = { version: 'v1beta1', endpoint: 'a.sock', resourceName: 'a.b/c' }

  it('tells a kubelet that is away from one that refuses', async () => {
    const socket = join(dir, 'kubelet.sock')
    const { signal } = new AbortController()
    await expect(registerDevicePlugin(socket, request, signal)).rejects.toMatchObject({ code: 'NOT_READY' })
    const server = new Server()
    server.addService(RegistrationService, {
      register: (_call: unknown, callback: (error: object) => void) =>
        callback({ code: 2, details: 'the ResourceName "a.b/c" is invalid' }),
    })
    await new Promise<void>((resolve) => server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), () => resolve()))
    await expect(registerDevicePlugin(socket, request, signal)).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringContaining('the ResourceName "a.b/c" is invalid'),
    })
    server.forceShutdown()
    await expect(registerDevicePlugin(socket, request, AbortSignal.abort())).rejects.toThrow()
  })
})
