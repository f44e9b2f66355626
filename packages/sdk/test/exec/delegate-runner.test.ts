import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type DelegateCall, DelegateRunner, PluginExecutor } from '../../src/exec/index.ts'
import { ScriptFolder } from './scripts.ts'

const RESULT = '{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/24"}]}'
const signal = AbortSignal.timeout(60_000)

const NETCONF = {
  cniVersion: '1.1.0',
  name: 'net',
  type: 'offload-cni',
  ipam: { type: 'ipam', ranges: [[{ subnet: '10.0.0.0/24' }]] },
  runtimeConfig: { ips: ['10.0.0.2/24'] },
  prevResult: { cniVersion: '1.1.0', interfaces: [{ name: 'lo' }] },
}

const CALL: DelegateCall = {
  type: 'ipam',
  cniVersion: '1.1.0',
  netconf: NETCONF,
  containerId: 'c1',
  netns: '/run/netns/x',
  ifName: 'eth0',
  args: { IgnoreUnknown: '1', K8S_POD_NAME: 'web' },
}

describe('DelegateRunner', () => {
  let scripts: ScriptFolder
  let runner: DelegateRunner
  beforeEach(async () => {
    scripts = await ScriptFolder.create()
    runner = new DelegateRunner(new PluginExecutor({ cniPath: [scripts.path], timeoutMs: 30_000 }))
    await scripts.addRecording('ipam', `[ $CNI_COMMAND = ADD ] && echo '${RESULT}' || true`)
  })
  afterEach(() => scripts[Symbol.asyncDispose]())

  it('hands on variables and configuration as they came, and gives back what was printed', async () => {
    expect(await runner.add(CALL, signal)).toEqual(JSON.parse(RESULT))
    const [call] = await scripts.calls()
    expect(call).toMatchObject({ verb: 'ADD', type: 'ipam', stdin: NETCONF })
    expect(call?.env.split('\n').filter((line) => line.startsWith('CNI_'))).toEqual(
      expect.arrayContaining([
        'CNI_COMMAND=ADD',
        'CNI_CONTAINERID=c1',
        'CNI_NETNS=/run/netns/x',
        'CNI_IFNAME=eth0',
        'CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAME=web',
        `CNI_PATH=${scripts.path}`,
      ]),
    )
  })

  it('DEL and CHECK have the prevResult of their own call, never that of the ADD', async () => {
    const { prevResult: _before, ...rest } = NETCONF
    await runner.del(CALL, undefined, signal)
    await runner.del({ ...CALL, netns: '' }, { ips: [] }, signal)
    await runner.check(CALL, { ips: [] }, signal)
    expect((await scripts.calls()).map(({ verb, stdin }) => ({ verb, stdin }))).toEqual([
      { verb: 'DEL', stdin: rest },
      { verb: 'DEL', stdin: { ...rest, prevResult: { ips: [] } } },
      { verb: 'CHECK', stdin: { ...rest, prevResult: { ips: [] } } },
    ])
  })

  it('calls no verb that the version does not have', async () => {
    await runner.check({ ...CALL, cniVersion: '0.3.1' }, {}, signal)
    await runner.gc({ ...CALL, cniVersion: '1.0.0' }, signal)
    expect(await scripts.calls()).toEqual([])
  })

  it.each([
    [1, 'INCOMPATIBLE_VERSION'],
    [7, 'INVALID_NETCONF'],
    [11, 'RESOURCE_EXHAUSTED'],
    [3, 'ADAPTER_FAILED'],
    [999, 'ADAPTER_FAILED'],
  ])('the plugin’s code %i becomes %s, with what it said', async (code, ours) => {
    await scripts.add('ipam', `echo '{"code":${code},"msg":"no addresses left"}'; exit 1`)
    await expect(runner.add(CALL, signal)).rejects.toMatchObject({
      code: ours,
      message: `plugin "ipam", ADD: code ${code}: no addresses left`,
    })
  })

  it('a result that is none is a failure', async () => {
    await scripts.add('ipam', 'echo nonsense')
    await expect(runner.add(CALL, signal)).rejects.toMatchObject({ code: 'ADAPTER_FAILED', message: expect.stringContaining('nonsense') })
  })

  it('STATUS asks for the version, and from 1.1.0 on the plugin itself', async () => {
    await scripts.addRecording(
      'ipam',
      `case $CNI_COMMAND in VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}';; *) echo '{"code":51,"msg":"pool is down"}'; exit 1;; esac`,
    )
    await runner.status({ ...CALL, cniVersion: '1.0.0' }, signal)
    await expect(runner.status(CALL, signal)).rejects.toMatchObject({ code: 'LIMITED_CONNECTIVITY' })
    await expect(runner.status({ ...CALL, cniVersion: '0.4.0' }, signal)).rejects.toMatchObject({ code: 'NOT_READY' })
    await expect(runner.status({ ...CALL, type: 'other' }, signal)).rejects.toMatchObject({ code: 'NOT_READY' })
    expect((await scripts.calls()).map(({ verb }) => verb)).toEqual(['VERSION', 'VERSION', 'STATUS', 'VERSION'])
  })

  it('GC hands the configuration on with its list', async () => {
    const netconf = { ...NETCONF, 'cni.dev/valid-attachments': [{ containerID: 'c1', ifname: 'eth0' }] }
    await runner.gc({ ...CALL, netconf }, signal)
    expect((await scripts.calls()).map(({ verb, stdin }) => [verb, stdin])).toEqual([['GC', netconf]])
  })

  it('a plugin that is not there is refused before anything is done', async () => {
    await expect(runner.requirePlugin('none')).rejects.toMatchObject({ code: 'NOT_READY' })
  })
})
