/* The network and the clock, as ModemManager, ofono and gammu look at them. */
#include "helper.h"

static void registration_read_forms(void **state) {
    (void)state;
    says("AT+CREG?;+CGREG?;+CEREG?\r",
         INFO("+CREG: 0,1") INFO("+CGREG: 0,1") INFO("+CEREG: 0,1") OK);
    says("AT+CREG=2;+CGREG=2;+CEREG=4\r", OK);
    says("AT+CREG?\r", INFO("+CREG: 2,1,\"0001\",\"0000001A\",7") OK);
    says("AT+CEREG?\r", INFO("+CEREG: 4,1,\"0001\",\"0000001A\",7") OK);
    modem_set_registration(b->m, MODEM_REG_DENIED);
    bed_read(b, 0);
    says("AT+CREG?\r", INFO("+CREG: 2,3") OK);
    says("AT+CREG=?;+CGREG=?;+CEREG=?\r",
         INFO("+CREG: (0-3)") INFO("+CGREG: (0-5)") INFO("+CEREG: (0-5)") OK);
    says("AT+CMEE=1;+CREG=4\r", INFO("+CME ERROR: 50"));
    says("AT+CEREG=6\r", INFO("+CME ERROR: 50"));
    says("AT+CREG\r", INFO("ERROR"));
}

static void operators(void **state) {
    (void)state;
    says("AT+COPS?\r", INFO("+COPS: 0,0,\"RedOp\",7") OK);
    says("AT+COPS=3,2;+COPS?\r", INFO("+COPS: 0,2,\"00101\",7") OK);
    says("AT+COPS=3,1;+COPS?\r", INFO("+COPS: 0,1,\"RedOp\",7") OK);
    says("AT+COPS=?\r", INFO("+COPS: (2,\"RedOp\",\"RedOp\",\"00101\",7),,(0-4),(0-2)") OK);
    says("AT+COPN\r", INFO("+COPN: \"00101\",\"RedOp\"") OK);
    says("AT+CREG=1;+COPS=2\r", OK INFO("+CREG: 0"));
    says("AT+COPS?\r", INFO("+COPS: 2") OK);
    says("AT+COPS=1,2,\"00101\"\r", OK INFO("+CREG: 1"));
    says("AT+COPS?\r", INFO("+COPS: 1,2,\"00101\",7") OK);
    says("AT+CMEE=1;+COPS=1,2,\"26201\"\r", INFO("+CME ERROR: 30"));
    says("AT+COPS=4,2,\"26201\";+COPS?\r",
         INFO("+COPS: 0,2,\"00101\",7") OK); /* manual failed, automatic then */
    says("AT+COPS=1\r", INFO("+CME ERROR: 50"));
    says("AT+COPS=5\r", INFO("+CME ERROR: 50"));
    says("AT+COPS=0,0,,7\r", OK);
}

static void signal_levels(void **state) {
    (void)state;
    says("AT+CSQ;+CESQ\r", INFO("+CSQ: 24,99") INFO("+CESQ: 99,99,255,255,20,56") OK);
    assert_int_equal(modem_set_signal(b->m, 31), 0);
    says("AT+CSQ;+CESQ\r", INFO("+CSQ: 31,99") INFO("+CESQ: 99,99,255,255,20,70") OK);
    assert_int_equal(modem_set_signal(b->m, 99), 0);
    says("AT+CSQ;+CESQ\r", INFO("+CSQ: 99,99") INFO("+CESQ: 99,99,255,255,255,255") OK);
    assert_int_equal(modem_set_signal(b->m, 32), TB_ERANGE);
    says("AT+CSQ=?\r", INFO("+CSQ: (0-31,99),(0-7,99)") OK);
}

static void radio_off_means_no_network(void **state) {
    (void)state;
    says("AT+CREG=1\r", OK);
    says("AT+CFUN=4\r", OK INFO("+CREG: 0"));
    says("AT+CSQ;+CGATT?;+CIMI\r",
         INFO("+CSQ: 99,99") INFO("+CGATT: 0") INFO("001010123456789") OK);
    says("AT+CMEE=1;+COPS=?\r", INFO("+CME ERROR: 30"));
    says("AT+CFUN=1\r", OK INFO("+CREG: 1"));
}

static void contexts(void **state) {
    (void)state;
    says("AT+CMEE=1;+CGDCONT?\r", INFO("+CGDCONT: 1,\"IP\",\"\",\"\",0,0") OK);
    says("AT+CGDCONT=2,\"IPV4V6\",\"internet\"\r", OK);
    says("AT+CGDCONT?;+CGACT?\r", INFO("+CGDCONT: 1,\"IP\",\"\",\"\",0,0")
                                      INFO("+CGDCONT: 2,\"IPV4V6\",\"internet\",\"\",0,0")
                                          INFO("+CGACT: 1,0") INFO("+CGACT: 2,0") OK);
    says("AT+CGEREP=2,1;+CGACT=1,2\r", OK INFO("+CGEV: ME PDN ACT 2"));
    says("AT+CGPADDR=2;+CGPADDR\r",
         INFO("+CGPADDR: 2,\"10.0.0.3\"") INFO("+CGPADDR: 1") INFO("+CGPADDR: 2,\"10.0.0.3\"") OK);
    says("AT+CGCONTRDP=2\r",
         INFO("+CGCONTRDP: "
              "2,5,\"internet\",\"10.0.0.3.255.255.255.0\",\"10.0.0.1\",\"10.0.0.1\",\"10.0.0.1\"")
             OK);
    says("AT+CGPADDR=?;+CGCONTRDP=?\r", INFO("+CGPADDR: (1,2)") INFO("+CGCONTRDP: (2)") OK);
    says("AT+CGDCONT=2\r", INFO("+CME ERROR: 3")); /* in use */
    modem_set_registration(b->m, MODEM_REG_NONE);
    assert_string_equal(bed_read(b, 0), INFO("+CGEV: NW PDN DEACT 2"));
    says("AT+CGACT=1,2\r", INFO("+CME ERROR: 30"));
    says("AT+CGDCONT=2;+CGDCONT?\r", INFO("+CGDCONT: 1,\"IP\",\"\",\"\",0,0") OK);
    says("AT+CGACT=1,2\r", INFO("+CME ERROR: 50"));
    says("AT+CGDCONT=9,\"IP\"\r", INFO("+CME ERROR: 50"));
    says("AT+CGDCONT=1,\"X25\"\r", INFO("+CME ERROR: 50"));
    says("AT+CGAUTH=1,1,\"user\",\"pass\"\r", OK);
    says("AT+CGDATA=\"PPP\",1\r", INFO("NO CARRIER"));
}

static void attach(void **state) {
    (void)state;
    says("AT+CGATT?\r", INFO("+CGATT: 1") OK);
    says("AT+CGEREP=1;+CGACT=1,1\r", OK INFO("+CGEV: ME PDN ACT 1"));
    says("AT+CGATT=0\r", OK INFO("+CGEV: ME DETACH")); /* says it all */
    says("AT+CGATT=0\r", OK);
    says("AT+CGEREP?;+CGEREP=2,1;+CGEREP?\r", INFO("+CGEREP: 1,0") INFO("+CGEREP: 2,1") OK);
    says("AT+CGATT?;+CGACT?\r", INFO("+CGATT: 0") INFO("+CGACT: 1,0") OK);
    says("AT+CGATT=1;+CGATT?\r", INFO("+CGATT: 1") OK);
    says("AT+CFUN=4\r", OK INFO("+CGEV: ME DETACH"));
    says("AT+CFUN=1\r", OK);
    modem_set_registration(b->m, MODEM_REG_SEARCHING);
    says("AT+CMEE=1;+CGATT=1\r", INFO("+CME ERROR: 30"));
}

static void clock_runs(void **state) {
    (void)state;
    b->now = 1000;
    says("AT+CCLK?\r", INFO("+CCLK: \"25/07/31,12:00:01+00\"") OK);
    says("AT+CCLK=\"24/02/29,23:59:59+08\";+CCLK?\r", INFO("+CCLK: \"24/02/29,23:59:59+08\"") OK);
    b->now += 1500;
    says("AT+CCLK?\r", INFO("+CCLK: \"24/03/01,00:00:00+08\"") OK);
    says("AT+CCLK=\"00/01/01,00:00:00-48\";+CCLK?\r", INFO("+CCLK: \"00/01/01,00:00:00-48\"") OK);
    says("AT+CMEE=1;+CCLK=\"24/13/01,00:00:00\"\r", INFO("+CME ERROR: 50"));
    says("AT+CCLK=\"nonsense\"\r", INFO("+CME ERROR: 50"));
    says("AT+CCLK=\"24/01/01,00:00:00+\"\r", INFO("+CME ERROR: 50"));
    says("AT+CCLK=24\r", INFO("ERROR"));
}

static void power_button(void **state) {
    (void)state;
    says("AT+CREG=1;+CSCS=\"GSM\";+QPOWD=1\r", OK INFO("POWERED DOWN"));
    assert_int_equal(b->resets, 1);
    says("AT+CREG?;+CSCS?\r",
         INFO("+CREG: 0,1") INFO("+CSCS: \"IRA\"") OK); /* it has started again */
    says("AT&W+CREG=1\r", OK);
    says("ATZ+CREG?\r", INFO("+CREG: 0,1") OK);
}

static void odds_and_ends(void **state) {
    (void)state;
    says("AT+GOI;+QGMR\r", INFO("sim-modem") INFO(TB_VERSION) OK);
    says("AT+CPAS;+CBC;+CEER\r",
         INFO("+CPAS: 0") INFO("+CBC: 0,100") INFO("+CEER: No cause information available") OK);
    says("AT+WS46=?;+WS46?\r", INFO("+WS46: (25,28)") INFO("+WS46: 28") OK);
    says("AT+CSCS=\"GSM\";+CSCS?\r", INFO("+CSCS: \"GSM\"") OK);
    says("AT+CMEE=1;+CSCS=\"UCS2\"\r", INFO("+CME ERROR: 50"));
    says("AT+IPR=115200;+ICF=3,3;+IFC=0,0;+ILRR=0;+FCLASS=0\r", OK);
    says("AT+IPR?;+ICF?;+IFC?\r", INFO("+IPR: 115200") INFO("+ICF: 3,3") INFO("+IFC: 0,0") OK);
    says("AT+CSCON?;+CTZU=1;+CTZU?;+CTZR?\r",
         INFO("+CSCON: 0,0") INFO("+CTZU: 1") INFO("+CTZR: 0") OK);
    /* gammu asks these of every modem and wants a quick ERROR */
    for (const char *const *p =
             (const char *const[]){"+MODE=2", "+CPROT=?", "+SYNCML=?", "$TSSPCSW=?", "+CHUP=?",
                                   "^SBNR=?", "+SPBR=?", "+MPBR=?", NULL};
         *p; p++) {
        char line[40];

        snprintf(line, sizeof line, "AT%s\r", *p);
        says(line, INFO("ERROR"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(registration_read_forms),
        TEST(operators),
        TEST(signal_levels),
        TEST(radio_off_means_no_network),
        TEST(contexts),
        TEST(attach),
        TEST(clock_runs),
        TEST(power_button),
        TEST(odds_and_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
