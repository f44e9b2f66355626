import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CriClient, type PodSpec } from '@cni-offload/testing/cri'
import {
  type sendUnaryData,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import type { ServiceDefinition } from '@grpc/grpc-js'
import { afterEach, beforeEach, expect, test } from 'vitest'

// A server that speaks the proto: what a real containerd makes of the same calls is tested end to end.
const service = loadSync(fileURLToPath(new URL('../../proto/cri.proto', import.meta.url)), { enums: String, longs: Number })[
  'runtime.v1.RuntimeService'
] as ServiceDefinition

let dir: string
let server: Server
let client: CriClient
let requests: Record<string, any>
let answers: Record<string, object | Error>

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cni-offload-cri-'))
  server = new Server()
  requests = {}
  answers = {}
  const methods: UntypedServiceImplementation = {}
  for (const name of Object.keys(service))
    methods[name] = (call: ServerUnaryCall<unknown, unknown>, reply: sendUnaryData<unknown>) => {
      requests[name] = call.request
      const answer = answers[name]
      if (answer instanceof Error) reply(answer)
      else if (answer !== undefined) reply(null, answer)
    }
  server.addService(service, methods)
  const socket = join(dir, 'runtime.sock')
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) => (error === null ? resolve() : reject(error))),
  )
  client = new CriClient(socket, '/pods')
})

afterEach(async () => {
  client[Symbol.dispose]()
  server.forceShutdown()
  await rm(dir, { recursive: true, force: true })
})

const pod: PodSpec = { name: 'web', uid: 'u-1', dns: { servers: ['10.96.0.10'], searches: ['svc'], options: ['ndots:5'] } }

test('a pod is described as kubelet does it', async () => {
  answers['RunPodSandbox'] = { podSandboxId: 'abc' }
  expect(await client.runPodSandbox({ ...pod, portMappings: [{ containerPort: 80, hostPort: 8080 }], annotations: { a: 'b' } })).toBe('abc')
  expect(requests['RunPodSandbox'].config).toMatchObject({
    metadata: { name: 'web', uid: 'u-1', namespace: 'default' },
    hostname: 'web',
    dnsConfig: pod.dns,
    portMappings: [{ containerPort: 80, hostPort: 8080 }],
    labels: { 'io.kubernetes.pod.name': 'web', 'io.kubernetes.pod.namespace': 'default', 'io.kubernetes.pod.uid': 'u-1' },
    annotations: { a: 'b' },
    linux: { cgroupParent: '/pods' },
  })
  await client.runPodSandbox({ ...pod, hostNetwork: true })
  expect(requests['RunPodSandbox'].config.linux.securityContext.namespaceOptions.network).toBe('NODE')
})

test('addresses, process and namespace come out of a sandbox status; a sandbox without them has none', async () => {
  const info = { pid: 7, runtimeSpec: { linux: { namespaces: [{ type: 'pid' }, { type: 'network', path: '/ns/1' }] } } }
  answers['PodSandboxStatus'] = {
    status: { state: 'SANDBOX_READY', network: { ip: '10.0.0.2', additionalIps: [{ ip: 'fd00::2' }] } },
    info: { info: JSON.stringify(info) },
  }
  expect(await client.podSandboxStatus('abc')).toEqual({ ready: true, ips: ['10.0.0.2', 'fd00::2'], pid: 7, netns: '/ns/1' })
  answers['PodSandboxStatus'] = { status: { state: 'SANDBOX_NOTREADY' }, info: { info: JSON.stringify({ pid: 0, runtimeSpec: null }) } }
  expect(await client.podSandboxStatus('abc')).toEqual({ ready: false, ips: [], pid: 0, netns: '' })
})

test('output of a command is text, its exit code a result', async () => {
  answers['ExecSync'] = { stdout: Buffer.from('ü'), stderr: Buffer.from('no'), exitCode: 3 }
  expect(await client.execSync('c', ['false'])).toEqual({ code: 3, stdout: 'ü', stderr: 'no' })
})

test.each([
  [status.NOT_FOUND, 'NOT_FOUND'],
  [status.UNAVAILABLE, 'NOT_READY'],
  [status.UNKNOWN, 'IO_FAILURE'],
])('status %s becomes %s, with the call and the words of the runtime', async (code, ours) => {
  answers['StopPodSandbox'] = Object.assign(new Error('failed'), { code, details: 'plugin said no' })
  await expect(client.stopPodSandbox('abc')).rejects.toMatchObject({ code: ours, message: 'CRI StopPodSandbox: plugin said no' })
})

test('a runtime that does not answer meets the deadline', async () => {
  await expect(client.version({ timeoutMs: 200 })).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' })
})

test('an answer that lacks what it must have is refused', async () => {
  answers['RunPodSandbox'] = {}
  await expect(client.runPodSandbox(pod)).rejects.toMatchObject({ code: 'UNDECODABLE', message: expect.stringContaining('podSandboxId') })
})
