import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { describe, expect, it } from 'vitest'
import { exec } from '../../src/net/exec.ts'
import { FakeKubectl, forbidden, prints, remoteExit } from '../../src/kubectl/index.ts'

const run = (fake: FakeKubectl, args: readonly string[], input = ''): ReturnType<typeof exec> =>
  exec([fake.executable, ...args], { input, timeoutMs: 60_000 })

describe('a fake kubectl', { timeout: 120_000 }, () => {
  it('answers calls by their arguments, in any order', async () => {
    await using fake = await FakeKubectl.start()
    fake
      .expect('get nodes', prints('a\n'))
      .expect(['get', 'pods', '-l', 'a in (b, c)'], prints({ items: [] }))
      .expect(
        ({ args, stdin }) => args[0] === 'apply' && stdin.includes('kind: Pod'),
        ({ stdin }) => prints(`${stdin.length}`),
      )
    expect(await run(fake, ['apply', '-f', '-'], 'kind: Pod')).toEqual({ code: 0, stdout: '9', stderr: '' })
    expect(await run(fake, ['get', 'pods', '-l', 'a in (b, c)'])).toMatchObject({ stdout: '{"items":[]}\n' })
    expect(await run(fake, ['get', 'nodes'], 'not read')).toMatchObject({ stdout: 'a\n' })
    expect(fake.calls.map(({ args, stdin }) => [args[0], stdin])).toEqual([
      ['apply', 'kind: Pod'],
      ['get', ''],
      ['get', ''],
    ])
    fake.verify()
  })

  it('fails as kubectl does', async () => {
    await using fake = await FakeKubectl.start()
    fake.expect('get pods -n x', forbidden('list', 'pods', 'x')).expect('exec a -- b', remoteExit(7, 'out', 'err'))
    const refused = await run(fake, ['get', 'pods', '-n', 'x'])
    expect(refused).toMatchObject({ code: 1, stdout: '' })
    expect(refused.stderr).toMatch(/^Error from server \(Forbidden\): pods is forbidden: .* in the namespace "x"\n$/)
    expect(await run(fake, ['exec', 'a', '--', 'b'])).toEqual({
      code: 7,
      stdout: 'out',
      stderr: 'err\ncommand terminated with exit code 7\n',
    })
  })

  it('reports calls that were not expected, too many or missing', async () => {
    const fake = await FakeKubectl.start()
    fake.expect('get a', prints('')).expect('get b', prints(''), { times: 2 }).expect('get c', prints(''), { times: 'any' })
    await run(fake, ['get', 'a'])
    await run(fake, ['get', 'b'])
    expect(await run(fake, ['get', 'a'])).toMatchObject({ code: 1, stderr: 'fake kubectl: this call was not expected: kubectl get a\n' })
    await run(fake, ['delete', 'x y'])
    expect(() => fake.verify()).toThrow(
      expect.objectContaining({
        code: 'CHECK_FAILED',
        message: 'fake kubectl:\nnot expected: kubectl get a\nnot expected: kubectl delete "x y"\nnot called: kubectl get b (1 of 2 times)',
      }),
    )
    await fake[Symbol.asyncDispose]()
    await expect(stat(dirname(fake.executable))).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('does not let a test pass that forgets to ask for unexpected calls', async () => {
    const fake = await FakeKubectl.start()
    await run(fake, ['get', 'a'])
    await expect(fake[Symbol.asyncDispose]()).rejects.toMatchObject({ code: 'CHECK_FAILED' })
  })

  it('can want an order, in which calls that may come at any time have no place', async () => {
    await using fake = await FakeKubectl.start({ ordered: true })
    fake.expect('get any', prints(''), { times: 'any' }).expect('first', prints('1')).expect('second', prints('2'))
    expect(await run(fake, ['second'])).toMatchObject({ code: 1 })
    expect(await run(fake, ['first'])).toMatchObject({ stdout: '1' })
    expect(await run(fake, ['get', 'any'])).toMatchObject({ code: 0 })
    expect(await run(fake, ['second'])).toMatchObject({ stdout: '2' })
    expect(() => fake.verify()).toThrow('not expected: kubectl second')
  })

  it('tells when a call hangs, and when it was ended', async () => {
    await using fake = await FakeKubectl.start()
    fake.expect('wait', 'hang')
    const signal = AbortSignal.timeout(60_000)
    const caller = new AbortController()
    const call = exec([fake.executable, 'wait'], { signal: caller.signal, timeoutMs: 60_000 })
    await fake.untilHanging(signal)
    expect(fake.hanging).toBe(1)
    caller.abort()
    await expect(call).rejects.toMatchObject({ code: 'CANCELLED' })
    await fake.untilEnded(signal)
    expect(fake.hanging).toBe(0)
  })
})
