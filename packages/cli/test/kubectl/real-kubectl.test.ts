import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exec } from '@cni-offload/testing'
import { FakeKubectl, type KubectlAnswer, notFound, unauthorized, unknownKind, unreachable } from '@cni-offload/testing/kubectl'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Kubectl } from '../../src/kubectl/kubectl.ts'
import type { KubectlError } from '../../src/kubectl/kubectl-error.ts'

const there = await exec(['kubectl', 'version', '--client']).then(
  ({ code }) => code === 0,
  () => false,
)

const kinds = [
  { name: 'nodes', singularName: 'node', namespaced: false, kind: 'Node', verbs: ['get'] },
  { name: 'configmaps', singularName: 'configmap', namespaced: true, kind: 'ConfigMap', verbs: ['get'] },
  { name: 'secrets', singularName: 'secret', namespaced: true, kind: 'Secret', verbs: ['get'] },
]

const reply = (response: ServerResponse, status: number, body: object): void =>
  void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))

const refuse = (response: ServerResponse, code: number, reason: string, message: string): void =>
  reply(response, code, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', reason, message, code })

/** As much of an API server as kubectl needs to be refused by it. */
function serve(path: string, response: ServerResponse): void {
  if (path === '/api') return reply(response, 200, { kind: 'APIVersions', versions: ['v1'] })
  if (path === '/apis') return reply(response, 200, { kind: 'APIGroupList', apiVersion: 'v1', groups: [] })
  if (path === '/api/v1') return reply(response, 200, { kind: 'APIResourceList', groupVersion: 'v1', resources: kinds })
  if (path.startsWith('/api/v1/nodes/')) return refuse(response, 404, 'NotFound', 'nodes "a" not found')
  if (path.includes('/secrets/'))
    return refuse(response, 403, 'Forbidden', 'secrets "a" is forbidden: User "u" cannot get resource "secrets"')
  refuse(response, 401, 'Unauthorized', 'Unauthorized')
}

describe.skipIf(!there)('the real kubectl (skipped without one in PATH)', { timeout: 120_000 }, () => {
  let server: Server
  let dir: string
  let kubeconfig: string

  const write = async (port: number): Promise<void> => {
    const cluster = { name: 'c', cluster: { server: `http://127.0.0.1:${port}` } }
    const context = { name: 'c', context: { cluster: 'c', user: 'u' } }
    // JSON is YAML, too.
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [cluster],
      contexts: [context],
      'current-context': 'c',
      users: [{ name: 'u', user: {} }],
    }
    await writeFile(kubeconfig, JSON.stringify(config))
  }
  const failure = async (options: ConstructorParameters<typeof Kubectl>[0], ...args: readonly string[]): Promise<KubectlError> => {
    // A home of its own, for what it caches of API servers.
    const env = { ...process.env, HOME: dir }
    return await new Kubectl({ timeoutMs: 60_000, env, ...options }).run({ args }, AbortSignal.timeout(90_000)).then(
      (printed) => expect.unreachable(printed),
      (error: unknown) => error as KubectlError,
    )
  }

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kubectl-'))
    kubeconfig = join(dir, 'config')
    server = createServer((request, response) => serve(new URL(request.url ?? '', 'http://a').pathname, response)).listen(0, '127.0.0.1')
    await once(server, 'listening')
    await write((server.address() as AddressInfo).port)
  })
  afterAll(async () => {
    server.close()
    await rm(dir, { recursive: true, force: true })
  })

  const faked: readonly (readonly [string, readonly string[], KubectlAnswer])[] = [
    ['not-found', ['get', 'node', 'a'], notFound('nodes', 'a')],
    ['unknown-kind', ['get', 'ciliumnodes'], unknownKind('ciliumnodes')],
    ['unauthorized', ['get', 'configmap', 'a'], unauthorized()],
  ]
  it.each(faked)('is taken for %s in the very words of the fake', async (kind, args, answer) => {
    const real = await failure({ kubeconfig }, ...args)
    await using fake = await FakeKubectl.start()
    fake.expect(args, answer)
    const same = await failure({ executable: fake.executable }, ...args)
    expect([real.kind, real.text, real.exitCode]).toEqual([kind, same.text, same.exitCode])
  })

  it('is taken for forbidden, for a wrong configuration and for unreachable', async () => {
    expect(await failure({ kubeconfig }, 'get', 'secret', 'a')).toMatchObject({ kind: 'forbidden', code: 'PERMISSION_DENIED' })
    expect(await failure({ kubeconfig: join(dir, 'none') }, 'get', 'node', 'a')).toMatchObject({ kind: 'config' })
    expect(await failure({ kubeconfig, context: 'none' }, 'get', 'node', 'a')).toMatchObject({ kind: 'config' })
    const { port } = server.address() as AddressInfo
    await new Promise((closed) => {
      server.closeAllConnections()
      server.close(closed)
    })
    const away = await failure({ kubeconfig }, 'get', 'node', 'a')
    expect([away.kind, away.text]).toEqual([
      'unreachable',
      String(unreachable(`127.0.0.1:${port}`).stderr)
        .trim()
        .split('\n')
        .at(-1),
    ])
  })
})
