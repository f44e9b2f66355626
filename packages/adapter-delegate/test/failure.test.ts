import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { systemClock } from '@cni-offload/sdk'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AttachmentStore, PluginError, PORT_IN_PROXY } from '../src/index.ts'
import { ctx, isRoot, Lab, NEEDS_ROOT } from './lab.ts'

describe.skipIf(!isRoot)(`plugins that fail ${NEEDS_ROOT}`, () => {
  let lab: Lab
  beforeEach(async () => {
    lab = await Lab.create(1)
  })
  afterEach(() => lab[Symbol.asyncDispose]())

  /** A second plugin that notes the verbs it gets and behaves as told on ADD; DEL works. */
  const withSecond = async (onAdd: string, onDel = 'exit 0', options: { readonly execTimeoutMs?: number } = {}): Promise<void> => {
    await lab.script(
      'second',
      `echo "$CNI_COMMAND" >>${lab.folder}/verbs\nconf=$(cat)\ncase "$CNI_COMMAND" in\nADD) ${onAdd};;\nDEL) ${onDel};;\nesac`,
    )
    await lab.start([lab.bridge(), { type: 'second' }], options)
  }

  const verbs = async (): Promise<string> =>
    (await readFile(join(lab.folder, 'verbs'), 'utf8').catch(() => '')).trim().replaceAll('\n', ' ')

  const expectPristine = async (): Promise<void> => {
    expect((await lab.proxy(0).links())?.map(({ name, up }) => `${name} ${up}`)).toEqual(['lo true', `${PORT_IN_PROXY} false`])
    expect(await lab.reserved()).toEqual([])
    expect(await lab.adapter.list(ctx())).toEqual([])
  }

  it.each([
    [
      'fails with an error object',
      `echo '{"code":7,"msg":"bad net","details":"really"}'; exit 1`,
      /plugin "second", ADD: code 7: bad net; really/,
    ],
    ['fails without JSON', 'echo oops; echo why >&2; exit 3', /exited with 3 and printed "oops"; stderr: why/],
    ['fails silently', 'exit 1', /exited with 1 without an error object/],
    ['is killed', 'kill -9 $$', /was killed by SIGKILL/],
    ['prints garbage', 'echo "<html>"', /printed no valid result: "<html>"/],
    ['prints nothing', 'exit 0', /printed no valid result: nothing/],
    ['prints a result of an unknown version', `echo '{"cniVersion":"9.9.9"}'`, /printed no valid result/],
    ['prints more than can be a result', 'head -c 9000000 /dev/zero', /could not be run: more than/],
  ])('a plugin that %s: the list is undone and the reason is told', async (_what, onAdd, message) => {
    await withSecond(onAdd)
    await expect(lab.adapter.attach(lab.request(0), ctx())).rejects.toMatchObject({
      code: 'ADAPTER_FAILED',
      message: expect.stringMatching(message),
    })
    expect(await verbs()).toBe('ADD DEL')
    await expectPristine()
  })

  it('keeps the plugin’s own code in the cause', async () => {
    await withSecond(`echo '{"code":11,"msg":"later"}'; exit 1`)
    const failure: unknown = await lab.adapter.attach(lab.request(0), ctx()).catch((error: unknown) => error)
    const cause = failure instanceof Error ? failure.cause : undefined
    expect(cause).toBeInstanceOf(PluginError)
    expect(cause).toMatchObject({ type: 'second', verb: 'ADD', pluginCode: 11 })
  })

  it('a plugin that is missing is noticed before anything is done', async () => {
    await lab.start([lab.bridge(), { type: 'nosuch' }])
    await expect(lab.adapter.attach(lab.request(0), ctx())).rejects.toMatchObject({
      code: 'NOT_READY',
      message: expect.stringContaining('nosuch'),
    })
    expect(await lab.net.link(lab.bench.dpuNetns, 'cni0')).toBeUndefined()
    await lab.adapter.detach({ key: lab.request(0).key, port: lab.at(0).port }, ctx())
    await expectPristine()
  })

  it('a plugin that hangs is killed with its children when its time is up', async () => {
    await withSecond(`sleep 300 & echo $! >${lab.folder}/child; wait`, 'exit 0', { execTimeoutMs: 700 })
    await expect(lab.adapter.attach(lab.request(0), ctx())).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      message: expect.stringContaining('700 ms'),
    })
    expect(await verbs()).toBe('ADD DEL')
    await expectPristine()
    const child = Number(await readFile(join(lab.folder, 'child'), 'utf8'))
    expect(await isGone(child)).toBe(true)
  })

  it('an abort kills the plugin at once, and everything is undone before attach rejects', async () => {
    await withSecond(`echo started >${lab.folder}/started; sleep 300`)
    const abort = new AbortController()
    const attached = lab.adapter.attach(lab.request(0), ctx(abort.signal))
    const settled = attached.catch((error: unknown) => error)
    await fileExists(join(lab.folder, 'started'))
    abort.abort()
    expect(await settled).toMatchObject({ code: 'CANCELLED' })
    expect(await verbs()).toBe('ADD DEL')
    await expectPristine()
  })

  it('an attachment is on record before the first plugin acts, so that a crash loses nothing', async () => {
    await withSecond(`echo started >${lab.folder}/started; sleep 300`)
    const abort = new AbortController()
    const settled = lab.adapter.attach(lab.request(0), ctx(abort.signal)).catch((error: unknown) => error)
    await fileExists(join(lab.folder, 'started'))
    // What a crash would leave: the adapter itself has its file to itself.
    await cp(lab.deps.stateDir, join(lab.folder, 'left'), { recursive: true })
    const store = new AttachmentStore(join(lab.folder, 'left', 'delegate.db'), systemClock)
    const row = store.get(lab.request(0).key)
    store[Symbol.dispose]()
    expect(row).toMatchObject({ port: lab.at(0).port, list: { name: 'labnet' } })
    expect(row?.result).toBeUndefined()
    abort.abort()
    await settled
    await expectPristine()
  })

  it('undoing that fails is taken up again by detach', async () => {
    await withSecond('exit 1', `test -e ${lab.folder}/heal`)
    await expect(lab.adapter.attach(lab.request(0), ctx())).rejects.toMatchObject({
      code: 'ADAPTER_FAILED',
      message: expect.stringMatching(/second", ADD/),
    })
    const { key, port } = lab.request(0)
    await expect(lab.adapter.detach({ key, port }, ctx())).rejects.toMatchObject({
      code: 'ADAPTER_FAILED',
      message: expect.stringMatching(/second", DEL/),
    })
    // DEL runs in reverse and stops where it fails: what the bridge gave is not free while another plugin may refer to it.
    expect(await lab.reserved()).toHaveLength(2)
    await writeFile(join(lab.folder, 'heal'), '')
    await lab.adapter.detach({ key, port }, ctx())
    await expectPristine()
  })
})

async function isGone(pid: number): Promise<boolean> {
  for (let tries = 0; tries < 100; tries++) {
    // A killed orphan may stay a zombie until somebody reaps it.
    const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
    if (state === undefined || / [ZX] /.test(state)) return true
    await delay(20)
  }
  return false
}

async function fileExists(path: string): Promise<void> {
  while ((await readFile(path).catch(() => undefined)) === undefined) await delay(10)
}
