/** The text of `cpt_pc` as the driver prints it. */
export const counterText = (requests: bigint, more: Partial<Record<'latency' | 'clock', bigint>> = {}): string =>
  [
    `CPT instruction requests   ${requests}`,
    `CPT instruction latency    ${more.latency ?? requests * 5000n}`,
    'CPT NCB read requests      2132',
    'CPT NCB read latency       413458',
    'CPT read requests caused by UC fills   1648',
    'CPT active cycles pc       5430286',
    `CPT clock count pc         ${more.clock ?? 74709386111n}`,
    '',
  ].join('\n')

/** The text of `cpt_err_info`. */
export const faultText = (fault: string = '0x0'): string =>
  [
    `CPT_AF_FLTX_INT:       ${fault} 0x0`,
    'CPT_AF_PSNX_EXE:       0x0 0x0',
    'CPT_AF_PSNX_LF:        0x0',
    'CPT_AF_RVU_INT:        0x0',
    'CPT_AF_RAS_INT:        0x0',
    'CPT_AF_EXE_ERR_INFO:   0x0',
    '',
  ].join('\n')

/** The text of `cpt_se_sts`. */
export const statusText = 'FREE STS : 0x000000000000fffe\nBUSY STS : 0x0000000000000001\n'
