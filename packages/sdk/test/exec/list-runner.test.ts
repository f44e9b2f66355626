import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type ListCall, ListRunner, type PluginConf, PluginExecutor, pluginList, type PluginListInput } from '../../src/exec/index.ts'
import { ScriptFolder } from './scripts.ts'

const RESULT =
  '{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"/run/netns/x"}],"ips":[{"address":"10.0.0.2/24","interface":0}]}'
const signal = AbortSignal.timeout(20_000)

describe('ListRunner', () => {
  let scripts: ScriptFolder
  let runner: ListRunner
  beforeEach(async () => {
    scripts = await ScriptFolder.create()
    runner = new ListRunner(new PluginExecutor({ cniPath: [scripts.path], timeoutMs: 10_000 }))
    await scripts.addRecording('first', `[ $CNI_COMMAND = ADD ] && echo '${RESULT}' || true`)
    // Adds a mark to what it got, as a plugin in a chain does.
    await scripts.addRecording(
      'second',
      `[ $CNI_COMMAND = ADD ] && echo '${RESULT.replace('}]}', '}],"dns":{"domain":"marked"}}')}' || true`,
    )
  })
  afterEach(() => scripts[Symbol.asyncDispose]())

  const call = (
    plugins: readonly PluginConf[],
    more: Partial<ListCall> = {},
    cniVersion: PluginListInput['cniVersion'] = '1.0.0',
  ): ListCall => ({
    list: pluginList.parse({ cniVersion, name: 'net', plugins }),
    containerId: 'c1',
    netns: '/run/netns/x',
    ifName: 'eth0',
    args: { K8S_POD_NAME: 'web' },
    runtimeConfig: {},
    ...more,
  })

  it('ADD: in order, each plugin with the result of the one before, the last result is the answer', async () => {
    const result = await runner.add(call([{ type: 'first', custom: { a: 1 } }, { type: 'second' }]), signal)
    expect(result['dns']).toEqual({ domain: 'marked' })
    const calls = await scripts.calls()
    expect(calls.map(({ verb, type }) => `${verb} ${type}`)).toEqual(['ADD first', 'ADD second'])
    expect(calls[0]?.stdin).toEqual({ type: 'first', custom: { a: 1 }, name: 'net', cniVersion: '1.0.0' })
    expect(calls[1]?.stdin).toEqual({ type: 'second', name: 'net', cniVersion: '1.0.0', prevResult: JSON.parse(RESULT) })
  })

  it('plugins get the six variables, a PATH, and nothing of our own environment', async () => {
    await runner.add(call([{ type: 'first' }]), signal)
    const env = Object.fromEntries(
      ((await scripts.calls())[0]?.env ?? '')
        .trim()
        .split('\n')
        .map((line) => line.split(/=(.*)/s).slice(0, 2)),
    )
    expect(env).toMatchObject({
      CNI_COMMAND: 'ADD',
      CNI_CONTAINERID: 'c1',
      CNI_NETNS: '/run/netns/x',
      CNI_IFNAME: 'eth0',
      CNI_ARGS: 'K8S_POD_NAME=web;IgnoreUnknown=1',
      CNI_PATH: scripts.path,
    })
    expect(Object.keys(env).filter((name) => !name.startsWith('CNI_') && !['PATH', 'PWD', '_', 'SHLVL', 'OLDPWD'].includes(name))).toEqual(
      [],
    )
  })

  it('CNI_ARGS leaves out what cannot be said in it', async () => {
    await runner.add(call([{ type: 'first' }], { args: { A: 'x;y', B: 'c=d', 'E;F': 'g', OK: '1' } }), signal)
    expect((await scripts.calls())[0]?.env).toMatch(/^CNI_ARGS=OK=1;IgnoreUnknown=1$/m)
  })

  it('each plugin gets the capability arguments that it declares, and no others', async () => {
    const runtimeConfig = { mac: '02:00:00:00:00:01', portMappings: [], bandwidth: {} }
    const plugins = [{ type: 'first', capabilities: { mac: true, portMappings: false } }, { type: 'second' }]
    await runner.add(call(plugins, { runtimeConfig }), signal)
    const calls = await scripts.calls()
    expect(calls[0]?.stdin['runtimeConfig']).toEqual({ mac: '02:00:00:00:00:01' })
    expect(calls[1]?.stdin).not.toHaveProperty('runtimeConfig')
  })

  it('what an attachment had before is asked for by convention and by capability', async () => {
    const again = { ips: ['10.0.0.9/24'], mac: '02:00:00:00:00:09' }
    await runner.add(call([{ type: 'first', args: { cni: { tag: 'x' } }, capabilities: { ips: true, mac: true } }], { again }), signal)
    expect((await scripts.calls())[0]?.stdin).toMatchObject({ args: { cni: { tag: 'x', ips: again.ips } }, runtimeConfig: again })
  })

  it('DEL: in reverse, all with the final result', async () => {
    await runner.del(call([{ type: 'first' }, { type: 'second' }]), { cniVersion: '1.0.0', ips: [] }, signal)
    const calls = await scripts.calls()
    expect(calls.map(({ verb, type }) => `${verb} ${type}`)).toEqual(['DEL second', 'DEL first'])
    for (const { stdin } of calls) expect(stdin['prevResult']).toEqual({ cniVersion: '1.0.0', ips: [] })
  })

  it('DEL: stops where a plugin fails', async () => {
    await scripts.addRecording('second', 'exit 1')
    await expect(runner.del(call([{ type: 'first' }, { type: 'second' }]), undefined, signal)).rejects.toMatchObject({
      code: 'ADAPTER_FAILED',
    })
    expect((await scripts.calls()).map(({ type }) => type)).toEqual(['second'])
  })

  it('before 0.4.0 there is no CHECK, and DEL has no result', async () => {
    const old = call([{ type: 'first' }], {}, '0.3.1')
    await runner.check(old, {}, signal)
    await runner.del(old, { ips: [] }, signal)
    const calls = await scripts.calls()
    expect(calls.map(({ verb }) => verb)).toEqual(['DEL'])
    expect(calls[0]?.stdin).not.toHaveProperty('prevResult')
  })

  it('GC: from 1.1.0 on, all plugins are told what is valid, also when one of them fails', async () => {
    const [valid, told] = [
      { containerId: 'c1', ifName: 'eth0' },
      { containerID: 'c1', ifname: 'eth0' },
    ]
    const { list } = call([{ type: 'first', custom: 1 }, { type: 'second' }], {}, '1.1.0')
    await scripts.addRecording('first', 'exit 1')
    await expect(runner.gc(list, [valid], signal)).rejects.toMatchObject({
      code: 'ADAPTER_FAILED',
      message: expect.stringContaining('first'),
    })
    const calls = await scripts.calls()
    expect(calls.map(({ verb, type }) => `${verb} ${type}`)).toEqual(['GC first', 'GC second'])
    for (const { stdin } of calls)
      expect(stdin).toMatchObject({ name: 'net', cniVersion: '1.1.0', 'cni.dev/valid-attachments': [told], 'cni.dev/attachments': [told] })
    await runner.gc({ ...list, cniVersion: '1.0.0' }, [valid], signal)
    expect(await scripts.calls()).toHaveLength(2)
  })

  it('CHECK is not called where the list forbids it', async () => {
    const { list, ...rest } = call([{ type: 'first' }])
    await runner.check({ ...rest, list: { ...list, disableCheck: true } }, {}, signal)
    expect(await scripts.calls()).toEqual([])
    await runner.check({ ...rest, list }, {}, signal)
    expect((await scripts.calls()).map(({ verb }) => verb)).toEqual(['CHECK'])
  })

  describe('status', () => {
    const answering = (versions: readonly string[], onStatus = 'exit 0'): string =>
      `case $CNI_COMMAND in\nVERSION) echo '${JSON.stringify({ cniVersion: '1.1.0', supportedVersions: versions })}';;\nSTATUS) ${onStatus};;\nesac`

    it('needs all plugins and their IPAM plugins', async () => {
      await scripts.addRecording('first', answering(['1.0.0']))
      const list = call([{ type: 'first', ipam: { type: 'ipam-missing' } }]).list
      await expect(runner.status(list, signal)).rejects.toMatchObject({
        code: 'NOT_READY',
        message: expect.stringContaining('ipam-missing'),
      })
      await expect(runner.requirePlugins(list)).rejects.toMatchObject({ code: 'NOT_READY' })
    })

    it('asks a plugin for its versions once, if it speaks the list’s', async () => {
      await scripts.addRecording('first', answering(['0.4.0', '1.0.0']))
      const { list } = call([{ type: 'first' }])
      await runner.status(list, signal)
      await runner.status(list, signal)
      expect((await scripts.calls()).map(({ verb }) => verb)).toEqual(['VERSION'])
    })

    it('notices a plugin that does not speak the list’s version, and that it was replaced', async () => {
      await scripts.addRecording('first', answering(['0.4.0']))
      const { list } = call([{ type: 'first' }])
      await expect(runner.status(list, signal)).rejects.toMatchObject({
        code: 'NOT_READY',
        message: expect.stringContaining('speaks 0.4.0, not 1.0.0'),
      })
      await scripts.addRecording('first', answering(['1.0.0']))
      await runner.status(list, signal)
    })

    it.each(['echo', 'echo "[]"', 'exit 1'])('notices a plugin whose VERSION is useless (%s)', async (body) => {
      await scripts.add('first', body)
      await expect(runner.status(call([{ type: 'first' }]).list, signal)).rejects.toMatchObject({
        code: expect.stringMatching(/NOT_READY|ADAPTER_FAILED/),
      })
    })

    it.each([
      [50, 'NOT_READY'],
      [51, 'LIMITED_CONNECTIVITY'],
      [999, 'NOT_READY'],
    ])('forwards STATUS from 1.1.0 on: code %i is %s', async (code, expected) => {
      await scripts.addRecording('first', answering(['1.1.0'], `echo '{"code":${code},"msg":"no tunnel"}'; exit 1`))
      await expect(runner.status(call([{ type: 'first' }], {}, '1.1.0').list, signal)).rejects.toMatchObject({
        code: expected,
        message: expect.stringContaining('no tunnel'),
      })
      expect((await scripts.calls()).map(({ verb }) => verb)).toEqual(['VERSION', 'STATUS'])
    })
  })
})
