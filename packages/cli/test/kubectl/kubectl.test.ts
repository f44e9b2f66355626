import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  failed,
  FakeKubectl,
  forbidden,
  type KubectlAnswer,
  notFound,
  prints,
  remoteExit,
  unauthorized,
  unknownKind,
  unreachable,
  waitTimeout,
} from '@cni-offload/testing/kubectl'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { Kubectl } from '../../src/kubectl/kubectl.ts'
import { type KubectlFailureKind } from '../../src/kubectl/kubectl-error.ts'

const LONG = 120_000
const signal = (): AbortSignal => AbortSignal.timeout(60_000)
const node = z.object({ metadata: z.object({ name: z.string() }) })
const over = ({ executable }: FakeKubectl): Kubectl => new Kubectl({ executable, timeoutMs: 60_000 })

describe('a call of kubectl', { timeout: LONG }, () => {
  it('hands on flags, arguments and input as they are, and returns what is printed', async () => {
    await using fake = await FakeKubectl.start()
    const manifest = 'kind: Secret\nstringData: { a: "b c" }\n'
    fake
      .expect(['--kubeconfig', '/my config', '--context', 'one', 'apply', '-f', '-'], prints('secret/a created\n'))
      .expect('get pods', prints(''))
    const kubectl = new Kubectl({ executable: fake.executable, kubeconfig: '/my config', context: 'one' })
    expect(await kubectl.run({ args: ['apply', '-f', '-'], input: manifest }, signal())).toBe('secret/a created\n')
    expect(await new Kubectl({ executable: fake.executable, env: { KUBECONFIG: '/other' } }).run({ args: ['get', 'pods'] }, signal())).toBe(
      '',
    )
    expect(fake.calls.map(({ stdin, kubeconfig }) => [stdin, kubeconfig])).toEqual([
      [manifest, process.env['KUBECONFIG']],
      ['', '/other'],
    ])
    fake.verify()
  })

  it('gives JSON by the schema, and names what does not fit', async () => {
    await using fake = await FakeKubectl.start({ ordered: true })
    fake
      .expect('get node a -o json', prints({ metadata: { name: 'a', more: 1 } }))
      .expect('get node a -o json', prints({ metadata: {} }))
      .expect('get node a -o json', prints('<html>'))
      .expect('get node b -o json', notFound('nodes', 'b'))
    const kubectl = over(fake)
    const ask = (name: string): Promise<unknown> => kubectl.find({ args: ['get', 'node', name] }, node, signal())
    expect(await ask('a')).toEqual({ metadata: { name: 'a' } })
    await expect(ask('a')).rejects.toMatchObject({
      code: 'UNDECODABLE',
      message: expect.stringContaining('metadata.name is missing') as string,
    })
    await expect(ask('a')).rejects.toMatchObject({ code: 'UNDECODABLE', message: expect.stringContaining('"<html>"') as string })
    expect(await ask('b')).toBeUndefined()
    fake.verify()
  })

  const failures: readonly (readonly [KubectlFailureKind, string, KubectlAnswer, string])[] = [
    ['not-found', 'NOT_FOUND', notFound('nodes', 'a'), 'namespace'],
    ['unknown-kind', 'NOT_FOUND', unknownKind('ciliumnodes'), 'Is Cilium installed'],
    [
      'unknown-kind',
      'NOT_FOUND',
      failed('error: resource mapping not found: no matches for kind "CiliumNetworkPolicy" in version "cilium.io/v2"'),
      'Is Cilium installed',
    ],
    ['forbidden', 'PERMISSION_DENIED', forbidden('get', 'nodes'), 'right'],
    ['unauthorized', 'PERMISSION_DENIED', unauthorized(), 'credentials'],
    ['unreachable', 'NOT_READY', unreachable(), '--kubeconfig'],
    ['unreachable', 'NOT_READY', failed('Unable to connect to the server: dial tcp: lookup a: no such host'), '--kubeconfig'],
    ['config', 'INVALID_CONFIG', failed('error: stat /nope: no such file or directory'), '--kubeconfig'],
    ['config', 'INVALID_CONFIG', failed('Error in configuration: context was not found for specified context: nope'), '--context'],
    ['exists', 'ALREADY_EXISTS', failed('Error from server (AlreadyExists): namespaces "a" already exists'), 'Delete'],
    ['conflict', 'IO_FAILURE', failed('Error from server (Conflict): the object has been modified'), 'again'],
    ['timeout', 'DEADLINE_EXCEEDED', waitTimeout('pods/xwing'), 'kubectl describe'],
  ]
  it.each(failures)('that fails is %s (%s), with what kubectl says and a remedy', async (kind, code, answer, hint) => {
    await using fake = await FakeKubectl.start()
    fake.expect('get node a -o json', answer)
    const error: unknown = await over(fake)
      .json({ args: ['get', 'node', 'a'] }, node, signal())
      .catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ kind, code, exitCode: 1, hint: expect.stringContaining(hint) as string })
    const said = String(answer.stderr).trim().split('\n').at(-1)
    expect(error).toMatchObject({ message: `kubectl get node a -o json: ${said}`, text: said })
    fake.verify()
  })

  it('is an error of its own kind when nothing else is known, and never shows the input', async () => {
    await using fake = await FakeKubectl.start()
    fake.expect(({ args }) => args[0] === 'create', failed('error: no space')).expect('version', { exitCode: 3 })
    const kubectl = over(fake)
    const secret = { args: ['create', '-f', '-'], input: 'top secret' }
    await expect(kubectl.run(secret, signal())).rejects.toMatchObject({
      kind: 'failed',
      code: 'IO_FAILURE',
      message: 'kubectl create -f -: error: no space',
      hint: undefined,
    })
    await expect(kubectl.run({ args: ['version'] }, signal())).rejects.toMatchObject({
      message: 'kubectl version: exit code 3',
      exitCode: 3,
    })
    fake.verify()
  })

  it('that hangs is killed at its deadline, and when the caller gives up', async () => {
    await using fake = await FakeKubectl.start()
    fake.expect('wait', 'hang', { times: 2 })
    await expect(over(fake).run({ args: ['wait'], timeoutMs: 500 }, signal())).rejects.toMatchObject({
      kind: 'timeout',
      code: 'DEADLINE_EXCEEDED',
      message: 'kubectl wait: it did not end within 500 ms and was killed',
    })
    await fake.untilEnded(signal())
    const caller = new AbortController()
    const refused = expect(over(fake).run({ args: ['wait'] }, caller.signal)).rejects.toMatchObject({ code: 'CANCELLED' })
    // Whether the call of before has reached the fake or not: one more can hang only after this one began.
    await fake.untilHanging(signal())
    caller.abort()
    await refused
    await fake.untilEnded(signal())
  })

  it('says that there is no kubectl, or none that may be executed', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'kubectl-'))
    try {
      const call = (executable: string): Promise<string> => new Kubectl({ executable }).run({ args: ['version'] }, signal())
      await expect(call(join(folder, 'none'))).rejects.toMatchObject({
        kind: 'missing',
        code: 'NOT_FOUND',
        message: `kubectl = ${folder}/none: there is no such program (ENOENT)`,
        hint: expect.stringContaining('--kubectl') as string,
      })
      const file = join(folder, 'kubectl')
      await writeFile(file, '')
      await chmod(file, 0o644)
      await expect(call(file)).rejects.toMatchObject({ kind: 'missing', message: expect.stringContaining('may not be executed') as string })
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

describe('a command in a container', { timeout: LONG }, () => {
  const target = { namespace: 'ns', pod: 'xwing', container: 'space' }

  it('gives its exit code and output, also when it fails', async () => {
    await using fake = await FakeKubectl.start({ ordered: true })
    fake.expect('exec -n ns xwing -c space -- curl -s a', prints('Ship landed\n'))
    fake.expect('exec -n ns xwing -c space -- curl -s a', remoteExit(28, 'partly', 'curl: timed out'))
    const kubectl = over(fake)
    expect(await kubectl.exec(target, ['curl', '-s', 'a'], signal())).toEqual({ exitCode: 0, stdout: 'Ship landed\n', stderr: '' })
    expect(await kubectl.exec(target, ['curl', '-s', 'a'], signal())).toEqual({ exitCode: 28, stdout: 'partly', stderr: 'curl: timed out' })
    fake.verify()
  })

  it('that could not be run is an error', async () => {
    await using fake = await FakeKubectl.start()
    fake.expect('exec -n ns xwing -- curl', notFound('pods', 'xwing'))
    await expect(over(fake).exec({ namespace: 'ns', pod: 'xwing' }, ['curl'], signal())).rejects.toMatchObject({ kind: 'not-found' })
    fake.verify()
  })
})
