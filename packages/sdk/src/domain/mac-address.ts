import { z } from 'zod'

/** A MAC address in its normal form: lower case, colons. Upper case is accepted and lowered. */
export const macAddress: z.ZodType<string, string> = z
  .string()
  .toLowerCase()
  .regex(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/, 'a MAC address such as 02:00:00:00:00:01')
